import type { Log } from '../base/log.js';
import type { ImageEvent } from '../boards/images/image-events.js';
import type { ImageStatus } from '../boards/images/image-verdicts.js';
import type { ImageCondition } from '../boards/journal/status.js';

/** How loud each is in the log: a warning where somebody has to see to it. */
const EVENTS = {
  pinned: ['info', 'image.pinned'],
  reading: ['info', 'image.reading'],
  digested: ['info', 'image.digested'],
  verified: ['info', 'image.verified'],
  touched: ['info', 'image.touched'],
  changed: ['warn', 'image.changed'],
  moved: ['warn', 'image.moved'],
  unreadable: ['warn', 'image.unreadable'],
  unwritten: ['warn', 'image.unwritten'],
} as const satisfies Readonly<Record<ImageEvent['kind'], readonly ['info' | 'warn', string]>>;

/** What happens to images that boards' disks lie over. */
export function tellImageEvent({ kind, ...facts }: ImageEvent, log: Log): void {
  const [level, event] = EVENTS[kind];
  log[level](facts, event);
}

export function imageCondition({ image, file, version, state, whereabouts }: ImageStatus): ImageCondition {
  const { sizeBytes: ofBytes } = version;
  const reading =
    state.at === 'reading' ? { isCompared: state.isCompared, doneBytes: state.doneBytes, ofBytes } : undefined;
  return { name: image, file, reading, trouble: troubleOf(state, whereabouts) };
}

function troubleOf(state: ImageStatus['state'], whereabouts: ImageStatus['whereabouts']): string | undefined {
  if (state.at === 'written')
    return 'it was written to while it is in use: its boards are refused until it is what it was';
  if (state.at === 'unread') return `it could not be read whole, and is tried again: ${state.because}`;
  if (whereabouts === 'inPlace') return undefined;
  const there = whereabouts === 'gone' ? 'it is not there any more' : 'another file is in its place';
  return `${there}: its boards go on with the one that was there, until they are off and \`brambleboot reload\` is run, or the server is restarted`;
}
