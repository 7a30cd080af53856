/** What the kernel said when a socket could not be bound, with what to do about it where that isn't in it already. `code` is errno's name. */
export function withBindAdvice(message: string, code: string, service?: 'tftp'): string {
  const advice = service === 'tftp' && code === 'EADDRINUSE' ? BOARDS_PORT_TAKEN : bindAdvice(code);
  return advice === undefined || message.endsWith(advice) ? message : `${message}: ${advice}`;
}

/** Another port is no way out there. */
const BOARDS_PORT_TAKEN =
  'another program has this port (see `ss -lntup`): stop it there (boards themselves know no TFTP port but 69)';

function bindAdvice(code: string): string | undefined {
  switch (code) {
    case 'EACCES':
      return 'ports below 1024 need root or CAP_NET_BIND_SERVICE';
    case 'EPERM':
      return 'binding to an interface needs CAP_NET_RAW here';
    case 'EADDRINUSE':
      return 'another program has this port (see `ss -lntup`): stop it there, or set another port here';
    case 'EADDRNOTAVAIL':
      return 'this address is on no interface';
    case 'ENODEV':
      return 'there is no such interface';
    default:
      return undefined;
  }
}
