import { parseAddress, parsePrefix, type Prefix } from "../addresses.ts";

function contains(network: Prefix, family: number, words: Int32Array): boolean {
  if (network.family !== family) return false;
  for (let at = 0, left = network.bits; left > 0; at++, left -= 32) {
    const mask = left >= 32 ? -1 : ~(0xffffffff >>> left);
    if (((network.words[at] ^ words[at]) & mask) !== 0) return false;
  }
  return true;
}

/** Nothing that a client of a proxy is meant to reach, unless the proxy's owner says so. */
const PRIVATE = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "::/128",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
].flatMap((text) => parsePrefix(text) ?? []);

/** IPv6 forms of IPv4 addresses (NAT64, 6to4, mapped, compatible) and where the IPv4 address lies in them, in words. */
const EMBEDDED = (
  [
    ["::ffff:0:0/96", 3, 0],
    ["64:ff9b::/96", 3, 0],
    ["::/96", 3, 0],
    ["2002::/16", 0, 16],
  ] as const
).flatMap(([text, word, shift]) => {
  const network = parsePrefix(text);
  return network === undefined ? [] : [{ network, word, shift }];
});

/** Decides which addresses clients may be connected to. */
export class TargetGuard {
  readonly #allowPrivate: boolean;
  readonly #allowed: readonly Prefix[];
  readonly #words = new Int32Array(4);

  constructor(allowPrivate: boolean, allowed: readonly string[]) {
    this.#allowPrivate = allowPrivate;
    this.#allowed = allowed.flatMap((text) => parsePrefix(text) ?? []);
  }

  /** Whether an address in text may be connected to. */
  allows(host: string): boolean {
    if (this.#allowPrivate) return true;
    const words = this.#words;
    const family = parseAddress(host, words, 0);
    if (family === 0) return false;
    if (this.#allowed.some((network) => contains(network, family, words))) return true;
    if (PRIVATE.some((network) => contains(network, family, words))) return false;
    const embedded = family === 6 ? EMBEDDED.find(({ network }) => contains(network, 6, words)) : undefined;
    return embedded === undefined || this.#allowsIpv4(embedded.word, embedded.shift);
  }

  #allowsIpv4(word: number, shift: number): boolean {
    const words = this.#words;
    const address = shift === 0 ? words[word] : (words[word] << shift) | (words[word + 1] >>> shift);
    words.fill(0);
    words[0] = address;
    if (this.#allowed.some((network) => contains(network, 4, words))) return true;
    return !PRIVATE.some((network) => contains(network, 4, words));
  }
}
