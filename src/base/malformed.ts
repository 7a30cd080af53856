/** Bytes or text from outside that are not what their standard says. Decoders throw nothing else; servers catch it in one place. */
export class Malformed extends Error {
  override readonly name = 'Malformed';
}

/** For those to whom bytes that are not what they should be are as good as none: undefined where `decode` throws Malformed. */
export function unlessMalformed<Value>(decode: () => Value): Value | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}
