/** Bytes or text from outside that are not what their standard says. Decoders throw nothing else; servers catch it in one place. */
export class Malformed extends Error {
  override readonly name = 'Malformed';
}
