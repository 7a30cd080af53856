# Brambleboot in one container: `docker compose up -d` with compose.yaml beside this file.
FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json ./
COPY scripts ./scripts
COPY src ./src
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim
# Threads that wait for disks: with libuv's four, one hung disk holds up all the others.
ENV NODE_ENV=production UV_THREADPOOL_SIZE=32
WORKDIR /app
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY config.example.yaml LICENSE ./
VOLUME ["/srv/brambleboot/images", "/srv/brambleboot/state"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9069/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve", "--config", "/srv/brambleboot/config.yaml"]
