# Brambleboot in one container: `docker compose up -d` with compose.yaml beside this file. docs/howto/container.md says how.
FROM node:24-trixie-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# No package's own scripts: koffi's would compile it where its prebuilt binary is missing, and there is no compiler here.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts ./scripts
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:24-trixie-slim
# `nft`: while the container is restarted, the packet filter stands in for it, and no board loses its disk.
RUN apt-get update && apt-get install --yes --no-install-recommends nftables && rm -rf /var/lib/apt/lists/*
# Threads that wait for disks, and how much may be made before it is looked what is used: as `serve` would have them by itself, which
# need not start twice then.
ENV NODE_ENV=production UV_THREADPOOL_SIZE=128 NODE_OPTIONS=--max-semi-space-size=4
COPY --from=build /build/package.json /app/
COPY --from=build /build/node_modules /app/node_modules
COPY --from=build /build/dist /app/dist
COPY LICENSE config.example.yaml /app/
COPY container/as-service container/brambleboot /usr/local/bin/
# The inventory is looked for where the program is started.
WORKDIR /srv/brambleboot
# Asked over the control socket, which is there whatever `http` of the inventory says: a wrong "unhealthy" makes some hosts
# restart a container, and that costs every running board its disk.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
  CMD ["as-service", "node", "-e", "require('node:http').get({ socketPath: 'state/control.sock', path: '/healthz' }, (answer) => process.exit(answer.statusCode === 200 ? 0 : 1)).on('error', (error) => { console.error(error.message); process.exit(1); })"]
ENTRYPOINT ["brambleboot"]
CMD ["serve"]
