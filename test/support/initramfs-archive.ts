/** A member of an archive to make: a file with this content, or an empty one. */
export type ArchiveMember = string | { readonly path: string; readonly content: string | Uint8Array };

/**
 * A cpio archive as `cpio -H newc` writes it, with its trailer, in multiples of four bytes. `magic` 070702 has a checksum
 * field, that nobody looks at.
 */
export function cpioArchive(members: readonly ArchiveMember[], magic = '070701'): Uint8Array {
  const entries = members.map((member) => (typeof member === 'string' ? { path: member, content: '' } : member));
  return Buffer.concat(
    [...entries, { path: 'TRAILER!!!', content: '' }].flatMap(({ path, content }) => memberParts(path, content, magic)),
  );
}

/** What initramfs-tools with nbd-client's hook puts in, as far as anybody looks. */
export const INITRAMFS_TOOLS_WITH_NBD: readonly ArchiveMember[] = [
  'init',
  'conf/initramfs.conf',
  'scripts/functions',
  'scripts/local-top/ORDER',
  'scripts/local-top/nbd',
  'usr/sbin/nbd-client',
  'usr/lib/modules/6.12.34+rpt-rpi-v8/kernel/drivers/net/phy/phylink.ko.xz',
  'usr/lib/modules/6.12.34+rpt-rpi-v8/kernel/drivers/block/nbd.ko.xz',
];

/** The same without nbd-client, and so without its hook that brings the module in. */
export const INITRAMFS_TOOLS_PLAIN = INITRAMFS_TOOLS_WITH_NBD.filter((member) => !String(member).includes('nbd'));

/** dracut with its nbd module; nbd built into the kernel. */
export const DRACUT_WITH_NBD: readonly ArchiveMember[] = [
  'usr/lib/dracut/build-parameter.txt',
  'usr/lib/dracut/hooks/cmdline/90-parse-nbdroot.sh',
  'usr/sbin/nbdroot',
  'usr/bin/nbd-client',
  {
    path: 'usr/lib/modules/6.17.0-1004-raspi/modules.builtin',
    content: 'kernel/drivers/block/loop.ko\nkernel/drivers/block/nbd.ko\n',
  },
];

function memberParts(path: string, content: string | Uint8Array, magic: string): Uint8Array[] {
  const name = Buffer.from(`${path}\0`, 'utf8');
  const body = typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [1, 0o100644, 0, 0, 1, 0, body.length, 0, 0, 0, 0, name.length, 0];
  const header = magic + fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('');
  return [Buffer.from(header, 'latin1'), name, padding(header.length + name.length), body, padding(body.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3);
}
