import { addressBytes, parseSubnet, prefixBitsOf, type Subnet, subnetOf, subnetText } from '../base/subnets.js';
import { quote, shown } from './quotation.js';
import type { Reader } from './scalars.js';

/** One entry of `server.allow`; what people write instead, they are told how to write. */
export const readSubnet: Reader<Subnet> = (text, refuse) => {
  const subnet = parseSubnet(text);
  if (subnet !== undefined) {
    const nobody = whyNobody(subnet);
    return nobody === undefined ? subnet : refuse(nobody.problem, nobody.remedy);
  }
  if (/^[^\s,]+(,\s*[^\s,]+)+$/.test(text)) {
    const list = shown(text.split(/,\s*/).join(', '));
    return refuse(`${quote(text)} is not one address or network`, `write a list: \`[${list}]\``);
  }
  if (/^(\*|any|all|everybody|everyone)$/i.test(text)) return refuse(undefined, `write ${EVERYBODY} for everybody`);
  const [written = '', prefix, more] = text.split('/');
  const address = text.includes('%') ? undefined : addressBytes(written);
  if (address !== undefined && prefix !== undefined && more === undefined)
    return refuse(...wrongPrefix(address, written, prefix));
  if (/^(\d+\.){1,3}(\*|\d+-[\d.]+)/.test(text)) {
    return refuse(undefined, 'write a network instead of a pattern or range, such as 192.168.2.0/24');
  }
  if (/^[a-z0-9_-]*[a-z][a-z0-9_.-]*$/i.test(text)) {
    return refuse(`${quote(text)} is a name, and names are not looked up here`, 'write its address');
  }
  return refuse();
};

const EVERYBODY = '0.0.0.0/0';

/** The address in front of the slash is sound, and yet it is no network. */
function wrongPrefix(address: Uint8Array, written: string, prefix: string): readonly [problem: string, remedy: string] {
  const lengthBits = address.length * 8;
  const text = `${written}/${prefix}`;
  const alone = subnetText(subnetOf(address, lengthBits));
  const mask = addressBytes(prefix);
  if (mask?.length === 4 && address.length === 4) {
    const network = subnetText(subnetOf(address, prefixBitsOf(mask.join('.'))));
    return [`${quote(text)} has a netmask, and this takes the number of its bits`, `write ${network}`];
  }
  const number = /^(0|[1-9]\d{0,2})$/.test(prefix) ? Number(prefix) : Number.NaN;
  const mapped = address.length === 4 && written.includes(':');
  if (mapped && number <= lengthBits) {
    const network = subnetText(subnetOf(address, number));
    return [`${quote(text)} is an IPv4 network in IPv6's spelling, where a prefix counts 96 more`, `write ${network}`];
  }
  const bits = mapped && number >= 96 ? number - 96 : number;
  if (!(bits <= lengthBits)) {
    const family = address.length === 4 ? 'IPv4' : 'IPv6';
    const remedy = `write a prefix from 0 to ${lengthBits}, or ${alone} for that address alone`;
    return [`${quote(text)} is not a network: an ${family} address has ${lengthBits} bits`, remedy];
  }
  const network = subnetText(subnetOf(address, bits));
  const remedy =
    network === alone ? `write ${alone}` : `write ${network} for the network, or ${alone} for that address alone`;
  return [`${quote(text)} is not a network: bits are set behind the first ${bits}`, remedy];
}

/** Nobody's own address, and yet what people write for everybody. */
function whyNobody(subnet: Subnet): { readonly problem: string; readonly remedy: string } | undefined {
  const text = subnetText(subnet);
  if (text === '0.0.0.0' || text === '::') {
    return { problem: `nobody asks from ${text}`, remedy: `write ${text}/0 for everybody` };
  }
  const first = subnet.address[0] ?? 0;
  const group =
    subnet.address.length === 4 ? subnet.prefixBits >= 3 && first >= 224 : subnet.prefixBits >= 8 && first === 255;
  return group
    ? { problem: `nobody asks from ${text}`, remedy: 'write the addresses that peers have themselves' }
    : undefined;
}
