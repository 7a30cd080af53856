import { existsSync } from 'node:fs';

/** Where the inventory is looked for when none is named. */
export const CONFIG_PATHS = ['config.yaml', '/etc/brambleboot/config.yaml'] as const;

/** The named file, or the first of CONFIG_PATHS that is there, or the first (whose absence is then the fault that is shown). */
export function configPath(named: string | undefined): string {
  return named ?? CONFIG_PATHS.find((path) => existsSync(path)) ?? CONFIG_PATHS[0];
}
