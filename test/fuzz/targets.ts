import type { FuzzTarget } from './target.js';
import { cmdlineTxt, configTxt, inventory } from './targets/configuration.js';
import { dhcp, pxeOptions } from './targets/dhcp.js';
import { fat, partitions } from './targets/disks.js';
import { handover } from './targets/handover.js';
import { bootHistory } from './targets/history.js';
import { initramfs, initramfsZstd } from './targets/initramfs.js';
import { nbdClient, nbdServer } from './targets/nbd.js';
import { nbdLanes } from './targets/nbd-lanes.js';
import { overlayDisk } from './targets/overlay.js';
import { pin } from './targets/pin.js';
import { tftpDownload, tftpServer, tftpSinglePort, tftpWire } from './targets/tftp.js';

/** Everything that takes bytes from a network, an image or a file that people write. */
export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  ...[tftpWire, tftpDownload, tftpServer, tftpSinglePort],
  ...[dhcp, pxeOptions],
  ...[nbdServer, nbdLanes, nbdClient],
  ...[fat, partitions],
  ...[configTxt, cmdlineTxt, inventory],
  ...[initramfs, initramfsZstd],
  ...[bootHistory, pin, overlayDisk, handover],
];
