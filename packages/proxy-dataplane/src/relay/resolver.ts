import type { DnsConfig } from "./config.ts";

/** An address that a name has. */
export interface ResolvedAddress {
  readonly family: 4 | 6;
  readonly host: string;
}

/** What came out of a look-up: addresses, or why there are none. */
export type LookupCallback = (
  addresses: readonly ResolvedAddress[],
  failure: "" | "name-not-found" | "name-lookup",
) => void;

/** Asks the system, or a name server. Calls back once, not before it has returned. */
export type NameLookup = (host: string, callback: LookupCallback) => void;

/** What a resolver counts. */
export interface ResolverObserver {
  onHit(): void;
  onLookup(): void;
  onFailure(): void;
}

interface Entry {
  addresses: readonly ResolvedAddress[];
  failure: "" | "name-not-found" | "name-lookup";
  expiresMs: number;
  /** Who waits for the first answer; undefined when it is there. */
  waiting: LookupCallback[] | undefined;
}

/** Look-ups of one name under way for all who ask, and answers remembered for a time. */
export class Resolver {
  readonly #lookup: NameLookup;
  readonly #nowMs: () => number;
  readonly #observer: ResolverObserver;
  readonly #entries = new Map<string, Entry>();
  #config: Required<DnsConfig>;

  constructor(lookup: NameLookup, nowMs: () => number, config: Required<DnsConfig>, observer: ResolverObserver) {
    this.#lookup = lookup;
    this.#nowMs = nowMs;
    this.#config = config;
    this.#observer = observer;
  }

  configure(config: Required<DnsConfig>): void {
    if (config.family !== this.#config.family) this.#forgetAnswered();
    this.#config = config;
  }

  /** Look a name up; the callback may run before this returns where the answer is remembered. */
  resolve(name: string, callback: LookupCallback): void {
    const host = name.toLowerCase();
    const known = this.#entries.get(host);
    if (known?.waiting !== undefined) {
      known.waiting.push(callback);
      return;
    }
    if (known !== undefined && known.expiresMs > this.#nowMs()) {
      this.#observer.onHit();
      callback(known.addresses, known.failure);
      return;
    }
    this.#ask(host, callback);
  }

  #ask(host: string, callback: LookupCallback): void {
    const entry: Entry = { addresses: [], failure: "", expiresMs: 0, waiting: [callback] };
    this.#entries.delete(host);
    this.#makeRoom();
    this.#entries.set(host, entry);
    this.#observer.onLookup();
    this.#lookup(host, (addresses, failure) => {
      const usable = order(addresses, this.#config.family);
      entry.addresses = usable;
      entry.failure = failure === "" && usable.length === 0 ? "name-not-found" : failure;
      entry.expiresMs = this.#nowMs() + (entry.failure === "" ? this.#config.ttlMs : this.#config.negativeTtlMs);
      if (entry.failure !== "") this.#observer.onFailure();
      const waiting = entry.waiting ?? [];
      entry.waiting = undefined;
      for (const each of waiting) each(entry.addresses, entry.failure);
    });
  }

  /** The oldest answers go first. */
  #makeRoom(): void {
    if (this.#entries.size < this.#config.entries) return;
    for (const [host, entry] of this.#entries) {
      if (entry.waiting !== undefined) continue;
      this.#entries.delete(host);
      if (this.#entries.size < this.#config.entries) return;
    }
  }

  #forgetAnswered(): void {
    for (const [host, entry] of this.#entries) if (entry.waiting === undefined) this.#entries.delete(host);
  }
}

/** Addresses in the order of attempts (RFC 8305, 4): families take turns, IPv6 first. */
export function order(
  addresses: readonly ResolvedAddress[],
  family: "any" | "ipv4" | "ipv6",
): readonly ResolvedAddress[] {
  const ipv6 = family === "ipv4" ? [] : addresses.filter((address) => address.family === 6);
  const ipv4 = family === "ipv6" ? [] : addresses.filter((address) => address.family === 4);
  const ordered: ResolvedAddress[] = [];
  for (let i = 0; i < Math.max(ipv4.length, ipv6.length); i++) {
    if (i < ipv6.length) ordered.push(ipv6[i]);
    if (i < ipv4.length) ordered.push(ipv4[i]);
  }
  return ordered;
}
