import { parseAddress } from "../addresses.ts";

/** A network: the first `bits` of four words. */
export interface Network {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly bits: number;
}

/** `10.0.0.0/8`, `::1`; undefined where it is none. */
export function parseNetwork(text: string): Network | undefined {
  const [address, length, ...rest] = text.split("/");
  const words = new Int32Array(4);
  const family = parseAddress(address, words, 0);
  if (family === 0 || rest.length > 0) return undefined;
  const most = family === 4 ? 32 : 128;
  const bits = length === undefined ? most : /^(0|[1-9]\d{0,2})$/.test(length) ? Number(length) : -1;
  return bits < 0 || bits > most ? undefined : { family, words, bits };
}

function contains(network: Network, family: number, words: Int32Array): boolean {
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
].flatMap((text) => parseNetwork(text) ?? []);

/** IPv6 forms of IPv4 addresses (NAT64, 6to4, mapped, compatible) and where the IPv4 address lies in them, in words. */
const EMBEDDED = (
  [
    ["::ffff:0:0/96", 3, 0],
    ["64:ff9b::/96", 3, 0],
    ["::/96", 3, 0],
    ["2002::/16", 0, 16],
  ] as const
).flatMap(([text, word, shift]) => {
  const network = parseNetwork(text);
  return network === undefined ? [] : [{ network, word, shift }];
});

/** Decides which addresses clients may be connected to. */
export class TargetGuard {
  readonly #allowPrivate: boolean;
  readonly #allowed: readonly Network[];
  readonly #words = new Int32Array(4);

  constructor(allowPrivate: boolean, allowed: readonly string[]) {
    this.#allowPrivate = allowPrivate;
    this.#allowed = allowed.flatMap((text) => parseNetwork(text) ?? []);
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
