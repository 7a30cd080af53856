import type { ReadBootFile } from '../../src/boards/boot-config/config-files.js';

/** A boot partition that is a table from path to content; case-blind as a FAT. */
export function bootPartition(files: Readonly<Record<string, string | Uint8Array>>): ReadBootFile {
  const folded = new Map(Object.entries(files).map(([path, content]) => [path.toLowerCase(), bytesOf(content)]));
  return async (path, maxBytes) => folded.get(path.toLowerCase())?.subarray(0, maxBytes);
}

function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
}

/** The shape of Raspberry Pi OS (Bookworm and Trixie), 64 bit, written down anew. */
export const RASPBERRY_PI_OS_CONFIG = `# For more options and information see
# http://rptl.io/configtxt
# Some settings may impact device functionality. See link above for details

# Uncomment some or all of these to enable the optional hardware interfaces
#dtparam=i2c_arm=on

# Enable audio (loads snd_bcm2835)
dtparam=audio=on

# Automatically load overlays for detected cameras
camera_auto_detect=1

# Automatically load initramfs files, if found
auto_initramfs=1

# Enable DRM VC4 V3D driver
dtoverlay=vc4-kms-v3d
max_framebuffers=2

# Run in 64-bit mode
arm_64bit=1

[cm4]
# Enable host mode on the 2711 built-in XHCI USB controller.
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
`;

/** The shape of Ubuntu 22.04 and 24.04. */
export const UBUNTU_NOBLE_CONFIG = `[all]
kernel=vmlinuz
cmdline=cmdline.txt
initramfs initrd.img followkernel

[pi4]
max_framebuffers=2
arm_boost=1

[all]
# Enable the audio output, I2C and SPI interfaces on the GPIO header.
dtparam=audio=on
dtparam=i2c_arm=on
dtparam=spi=on

disable_overscan=1

[cm4]
# Enable the USB2 outputs on the IO board (assuming your CM4 is plugged into
# such a board)
dtoverlay=dwc2,dr_mode=host

[all]
arm_64bit=1
`;

/** The shape of Ubuntu 25.10 and later: what boots lies in current/, what is tried next in new/. */
export const UBUNTU_QUESTING_CONFIG = `[all]
os_prefix=current/
kernel=vmlinuz
cmdline=cmdline.txt
initramfs initrd.img followkernel
os_check=0

[tryboot]
os_prefix=new/

[pi4]
max_framebuffers=2
arm_boost=1

[all]
arm_64bit=1
dtparam=audio=on
`;
