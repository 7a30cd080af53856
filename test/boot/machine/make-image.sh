#!/usr/bin/env bash
# make-image.sh FILE: makes the disk of the machine that the tests boot, as somebody would make a card for a Pi: a FAT boot partition with
# what config.txt names, and a Debian as root that finds its disks by label. Nothing in it is made for us, but nbd-client in the initramfs
# (docs/howto/nbd-initramfs.md). Wants root, some minutes, and packages from Debian.
set -euo pipefail
image=$1
work=$(mktemp -d)
# Never across a mount: where mmdebstrap was killed, the host's /dev may still be in there.
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root

# Two kernels: a test gives the machine the other one.
packages=linux-image-cloud-amd64,linux-image-amd64,initramfs-tools,zstd,nbd-client
packages+=,systemd-sysv,udev,kmod,iproute2,e2fsprogs,dosfstools,fio,busybox-static
mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$root"

echo board >"$root/etc/hostname"
chroot "$root" passwd --quiet --delete root
mkdir -p "$root/boot/firmware"
printf 'LABEL=writable / ext4 defaults 0 1\nLABEL=system-boot /boot/firmware vfat defaults 0 1\n' >"$root/etc/fstab"

# Where the tests type: a shell at a virtio port, which needs nothing of the disk once it runs. Its program is in /dev/shm, as nothing may be
# run from an initramfs' /run.
cat >"$root/etc/systemd/system/test-shell.service" <<'UNIT'
[Unit]
Description=Shell of the tests
StartLimitIntervalSec=0
[Service]
ExecStartPre=/bin/cp --force /bin/busybox /dev/shm/busybox
ExecStart=/dev/shm/busybox sh -c 'exec <>/dev/virtio-ports/shell >&0 2>&1; printf "\\036shell\\036"; exec /dev/shm/busybox sh'
WorkingDirectory=/dev/shm
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl --quiet enable test-shell.service

# As the firmware finds them; it is not run, so that any bytes will do for it.
boot=$work/boot
mkdir "$boot"
cp "$root"/boot/vmlinuz-*-cloud-amd64 "$boot/vmlinuz"
cp "$root"/boot/initrd.img-*-cloud-amd64 "$boot/initrd.img"
printf 'console=ttyS0 root=LABEL=writable rootfstype=ext4 rootwait fixrtc\n' >"$boot/cmdline.txt"
printf '[all]\nkernel=vmlinuz\ninitramfs initrd.img followkernel\ncmdline=cmdline.txt\n' >"$boot/config.txt"
head -c 2263000 /dev/urandom >"$boot/start4.elf"
head -c 5448 /dev/urandom >"$boot/fixup4.dat"
head -c 55000 /dev/urandom >"$boot/bcm2711-rpi-4-b.dtb"

# 3 GiB: 256 MiB of boot partition behind the first MiB, then the root.
truncate -s 256M "$work/fat"
mkfs.vfat -F 32 -n system-boot "$work/fat" >/dev/null
mcopy -i "$work/fat" "$boot"/* ::/
truncate -s 2815M "$work/ext4"
mkfs.ext4 -q -L writable -d "$root" "$work/ext4"
rm -f "$image"
truncate -s 3G "$image"
printf 'label: dos\nstart=1MiB,size=256MiB,type=c,bootable\nstart=257MiB,size=2815MiB,type=83\n' | sfdisk --quiet "$image"
dd if="$work/fat" of="$image" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/ext4" of="$image" bs=1M seek=257 conv=notrunc,sparse status=none
