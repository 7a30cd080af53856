import { userInfo } from 'node:os';

/** By name, and by the number that counts where names differ: a container has its own. */
export function whoWeAre(): string {
  try {
    const { username, uid } = userInfo();
    return `user ${username} (${uid})`;
  } catch {
    return `user ${process.getuid?.() ?? '?'}`;
  }
}
