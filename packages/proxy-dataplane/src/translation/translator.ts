import { parsePrefix, type Prefix } from "../addresses.ts";
import { KEY_IPV6 } from "../packet-info.ts";
import { parsePorts } from "../policy/networks.ts";
import type { DestinationTranslation, SourceTranslation, TranslationConfig } from "../policy/translation-config.ts";
import { IpProtocol } from "../protocols.ts";
import { AddressPool, poolsOf } from "./address-pool.ts";
import { isEcho, type FlowTarget } from "./flow-target.ts";

const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = {
  tcp: IpProtocol.Tcp,
  udp: IpProtocol.Udp,
  icmp: IpProtocol.Icmp,
  icmpv6: IpProtocol.Icmpv6,
};

interface PoolsByFamily {
  readonly ipv4: AddressPool;
  readonly ipv6: AddressPool;
}

interface Conditions {
  readonly source: readonly Prefix[] | undefined;
  readonly destination: readonly Prefix[] | undefined;
  readonly protocols: readonly number[] | undefined;
}

interface SourceRule extends Conditions, PoolsByFamily {
  readonly via: "server" | "direct" | undefined;
  readonly first: number;
  readonly last: number;
  readonly keepsPort: boolean;
}

interface DestinationRule extends Conditions, PoolsByFamily {
  /** Pairs of first and last port. */
  readonly ports: readonly (readonly [number, number])[] | undefined;
  readonly port: number;
}

/** The rules of a {@link TranslationConfig}, ready to be applied to new flows. Made once for each version, then read only. */
export class Translator {
  /** The box's addresses, at most one in each pool. */
  readonly own: PoolsByFamily;
  readonly #sources: readonly SourceRule[];
  readonly #destinations: readonly DestinationRule[];
  readonly #hairpin: readonly Prefix[];

  constructor({ own = [], source = [], destination = [], hairpin = [] }: TranslationConfig) {
    this.own = poolsOf(own);
    this.#sources = source.map((rule) => compileSource(rule, this.own));
    this.#destinations = destination.map(compileDestination);
    this.#hairpin = prefixesOf(hairpin) ?? [];
  }

  /**
   * Applies the first rule for destinations that holds for the flow of the key; `hash` is the same for all flows of a client.
   * Returns whether one did.
   */
  translateDestination(key: Int32Array, at: number, hash: number, target: FlowTarget): boolean {
    const isIpv6 = (key[at + 9] & KEY_IPV6) !== 0;
    const port = key[at + 8] & 0xffff;
    const protocol = key[at + 9] & 0xff;
    for (const rule of this.#destinations) {
      const pool = isIpv6 ? rule.ipv6 : rule.ipv4;
      if (pool.size === 0 || !holds(rule, key, at, key, at + 4, isIpv6)) continue;
      if (rule.ports !== undefined && !rule.ports.some(([first, last]) => port >= first && port <= last)) continue;
      pool.write(hash, target.far, 0);
      if (rule.port !== 0 && target.hasPorts && !isEcho(protocol)) target.farPort = rule.port;
      target.isTranslated = true;
      return true;
    }
    return false;
  }

  /** Applies the first rule for sources that holds, or else makes a hairpin of the flow where it is one. */
  translateSource(key: Int32Array, at: number, target: FlowTarget): void {
    const isIpv6 = (key[at + 9] & KEY_IPV6) !== 0;
    const via = target.server >= 0 ? "server" : "direct";
    for (const rule of this.#sources) {
      const pool = isIpv6 ? rule.ipv6 : rule.ipv4;
      if (pool.size === 0 || (rule.via !== undefined && rule.via !== via)) continue;
      if (!holds(rule, key, at, target.far, 0, isIpv6)) continue;
      target.pool = pool;
      target.isTranslated = true;
      target.keepsPort = rule.keepsPort && (rule.last < 0 || isWithin(target.nearPort, rule));
      if (rule.last >= 0) {
        target.firstPort = rule.first;
        target.lastPort = rule.last;
      }
      return;
    }
    if (target.isTranslated && this.#isHairpin(key, at, target, isIpv6)) this.#makeHairpin(key, at, target, isIpv6);
  }

  #isHairpin(key: Int32Array, at: number, target: FlowTarget, isIpv6: boolean): boolean {
    const family = isIpv6 ? 6 : 4;
    return this.#hairpin.some((one) => isIn(one, family, key, at) && isIn(one, family, target.far, 0));
  }

  #makeHairpin(key: Int32Array, at: number, target: FlowTarget, isIpv6: boolean): void {
    const own = isIpv6 ? this.own.ipv6 : this.own.ipv4;
    if (own.size > 0) target.pool = own;
    else for (let i = 0; i < 4; i++) target.near[i] = key[at + 4 + i];
  }
}

function isWithin(port: number, { first, last }: SourceRule): boolean {
  return port >= first && port <= last;
}

function holds(
  rule: Conditions,
  source: Int32Array,
  at: number,
  destination: Int32Array,
  to: number,
  isIpv6: boolean,
): boolean {
  const family = isIpv6 ? 6 : 4;
  const protocol = source[at + 9] & 0xff;
  if (rule.protocols !== undefined && !rule.protocols.includes(protocol)) return false;
  if (rule.source !== undefined && !rule.source.some((one) => isIn(one, family, source, at))) return false;
  return rule.destination === undefined || rule.destination.some((one) => isIn(one, family, destination, to));
}

/** Whether the address at `words[at ..]` is in a network. */
function isIn({ family: of, words: network, bits }: Prefix, family: 4 | 6, words: Int32Array, at: number): boolean {
  if (of !== family) return false;
  for (let i = 0, left = bits; left > 0; i++, left -= 32) {
    const mask = left >= 32 ? -1 : -1 << (32 - left);
    if (((network[i] ^ words[at + i]) & mask) !== 0) return false;
  }
  return true;
}

function prefixesOf(texts: readonly string[] | undefined): readonly Prefix[] | undefined {
  return texts?.flatMap((text) => parsePrefix(text) ?? []);
}

function protocolsOf(protocols: readonly (string | number)[] | undefined): readonly number[] | undefined {
  return protocols?.map((one) => (typeof one === "number" ? one : PROTOCOL_NUMBERS[one]));
}

function compileSource(rule: SourceTranslation, own: PoolsByFamily): SourceRule {
  const ports = rule.ports === undefined ? undefined : parsePorts(rule.ports);
  return {
    source: prefixesOf(rule.source),
    destination: prefixesOf(rule.destination),
    protocols: protocolsOf(rule.protocols),
    via: rule.via,
    ...(rule.to === undefined ? { ipv4: own.ipv4, ipv6: own.ipv6 } : poolsOf(rule.to)),
    first: ports === undefined ? 0 : Number(ports.start),
    last: ports === undefined ? -1 : Number(ports.end) - 1,
    keepsPort: rule.randomPorts !== true,
  };
}

function compileDestination(rule: DestinationTranslation): DestinationRule {
  return {
    source: prefixesOf(rule.source),
    destination: prefixesOf(rule.destination),
    protocols: protocolsOf(rule.protocols),
    ports: rule.ports?.map((one) => {
      const range = parsePorts(one);
      return [Number(range?.start ?? 0), Number(range?.end ?? 0) - 1] as const;
    }),
    ...poolsOf(rule.to),
    port: rule.port ?? 0,
  };
}
