/** Amounts as people read them: "512 bytes", "62.6 MB", "16 GB". Powers of ten, as disks are sold. */
export function bytesText(bytes: number): string {
  const unit = UNITS.find(({ size }) => bytes >= size);
  return unit === undefined
    ? `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`
    : `${rounded(bytes / unit.size)} ${unit.name}`;
}

/** "4 ms", "1.3 s", "31 s", "12 min". */
export function durationText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 120_000 ? `${rounded(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** A time since something began: to the millisecond at first, coarser later ("0.012 s", "31.2 s", "12 min", "3 days 4 h"). */
export function sinceText(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(3)} s`;
  if (ms < 600_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

const UNITS = [
  { size: 1e12, name: 'TB' },
  { size: 1e9, name: 'GB' },
  { size: 1e6, name: 'MB' },
  { size: 1e3, name: 'kB' },
] as const;

/** Three digits are enough, and a zero behind the point says nothing. */
function rounded(value: number): string {
  return String(Number(value.toFixed(value < 100 ? 1 : 0)));
}
