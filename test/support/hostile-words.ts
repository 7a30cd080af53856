/** What a stranger may put into any string: terminal escapes, markup, line ends, marks that turn the direction of writing. */
export const HOSTILE_WORDS =
  '\u001b]0;evil\u0007\u001b[31m<script>document.title="evil"</script><img src=x onerror=alert(1)>\r\n' +
  '{"msg":"evil.line"}\u202e\u009b31m\u0085\u2028\u{e0041}&"\'';

/** As bytes, and with bytes that are no UTF-8: a C1 control by itself, an overlong slash, a lonely lead byte. */
export const HOSTILE_BYTES: Uint8Array = Buffer.concat([
  Buffer.from(HOSTILE_WORDS, 'utf8'),
  Uint8Array.of(0x9b, 0x41, 0xc0, 0xaf, 0xe2, 0xff),
]);

/** None of these may be in a line of the log, of a command's output, or of an answer. */
export const STEERS_A_TERMINAL = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;
