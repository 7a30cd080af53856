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

/**
 * `cpioArchive(INITRAMFS_TOOLS_WITH_NBD)` packed by gzip 1.12 (-9n), zstd 1.5.4 (-19), lz4 1.9.4 (-l -9) and
 * xz 5.4.1 (--check=crc32 -9). In base64.
 */
export const PACKED_INITRAMFS = {
  gzip:
    'H4sIAAAAAAACA72SwWrDMBBE/Ss+F2slx018dUgOhULB5AdiWaaLlZWQ5JD26xuldQkhueSgAaHRZecxK77iKy74ry53LZqK35fgz+l1' +
    'NkgYsownyBT/86ShAWKw2x8Gz+IzS8RQzs5LhzZ4GCaSAQ35NPn1bb42cq+LYCx8tJttm6qH5WMO6vrE/2HyDnyHFKMLqVFRSNRDVV8z' +
    'aOzgYPpJKw9LJkq2qF6cDYWzWBxrGJUjpaF3eFTOA6kA9vMrHo00stGw03cq7vJ57u686jFW/UecgpevZ7Nrm7f3bZvn+bmq7Ac051Xm' +
    '7AQAAA==',
  zstd:
    'KLUv/QRovQYAAssjGVDXAzMVEiysQhHCvC6I//p/kxKrImamOwkQQggAQNQ8jhJJi8QottTwdRFjEbtvvUvzXa/rXLnPldt6c8U84YTX' +
    'srC1HBREHGY8XFe7VThz6m1S7FvfUuE+pT3rraLuETVMBLmGt2Anim2iL/5N72a53tpnqgcYtZVN2a2LaTEh3H9fGnLKQpmJnBKRiAwa' +
    'ILBKAglqPRAoZqeoDYGblr6TlR3KXrvCwzhMOI1/Vs4mlM6C9lUWTquIOAal7T1yGMkkC3nX+9vCTYLdNpxN1Wvs9YwYZo/7',
  lz4:
    'AiFMGAsBAAByMDcwNzAxMAEAAQgAXzgxQTQwAQADLzEwAQAjFDUJAG9pbml0AAB0AFEVMVAAUGNvbmYveQBgcmFtZnMuDwAfAIQAVBQy' +
    'CgD/AnNjcmlwdHMvZnVuY3Rpb25zgABTHDiAAP8AbG9jYWwtdG9wL09SREVSCAFVHzaIAAc/bmJkEAJcgHVzci9zYmluewB/LWNsaWVu' +
    'dAgBVCg0OIQA8CZsaWIvbW9kdWxlcy82LjEyLjM0K3JwdC1ycGktdjgva2VybmVsL2RyaXZlcnMvbmV0L3BoeQQAr2xpbmsua28ueHq4' +
    'AFUfMrgAJ1BibG9ja2sBA7IAD3AEUhRCCQDgVFJBSUxFUiEhIQAAAAA=',
  xz:
    '/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4ATrANVdABgN3QRjnHIbdqG6wB11LqvzQk2LeZrCQAORNTSEjj5cSKsk68TON1qlYMkcONIG' +
    'Nep4ay4izd6nygC3N3aWN3bx3rHAEpK0am2rvLlIxMzTrJXzfiH1dXdapMUqrUNoGzMDgjQ8CShb0rm2eK1eTu/s3UEM8mki2LN/gJKJ' +
    'J8y4a38ibDCrOQGAwB5r8RSCy0L0xAH2cErYChqKh+lj/QZ06TRfamoBUF5nOrpQ4nI30IaLN92RnPlVsR/fIeE0DfrBjAhtLAul1V80' +
    'bMS1kfoTegLIAAAAAAA051XmAAHtAewJAAA+MJfHPjANiwIAAAAAAVla',
} as const;
