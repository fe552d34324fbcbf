import { parseAddress } from "../addresses.ts";
import type { ClientLimits } from "../policy/client-limits.ts";
import type { Policy } from "../policy/policy.ts";
import type { TunnelLimiter } from "./engine.ts";

const NS_PER_MS = 1e6;

/** Limits of each client and user, as one worker's relay holds them. What admits returns a ticket, to be released once. */
export class Admission {
  readonly #limits: ClientLimits;
  readonly #policy: () => Policy;
  readonly #words = new Int32Array(4);

  constructor(limits: ClientLimits, policy: () => Policy) {
    this.#limits = limits;
    this.#policy = policy;
  }

  /** A ticket; 0 where there is no limit, or no address (a Unix socket); negative: refused. */
  client(host: string): number {
    const policy = this.#policy();
    if (policy.perClient === undefined) return 0;
    const family = parseAddress(host, this.#words, 0);
    return family === 0 ? 0 : this.#limits.admit(policy, this.#words, 0, family === 6);
  }

  user(name: string): number {
    return name === "" ? 0 : this.#limits.admitUser(this.#policy(), name);
  }

  release(ticket: number): void {
    this.#limits.release(ticket);
  }

  /** What holds a tunnel to the bytes of its client and user; undefined where neither has a limit of bytes. */
  limiter(clientTicket: number, userTicket: number): TunnelLimiter | undefined {
    const { perClient, perUser } = this.#policy();
    const isLimited =
      (clientTicket > 0 && (perClient?.bytesPerSecond ?? 0) > 0) ||
      (userTicket > 0 && (perUser?.bytesPerSecond ?? 0) > 0);
    return isLimited ? { take: (_side, bytes) => this.spend(clientTicket, userTicket, bytes) } : undefined;
  }

  /** Bytes have moved: milliseconds until more may. */
  spend(clientTicket: number, userTicket: number, bytes: number): number {
    const policy = this.#policy();
    const clientNs = this.#limits.spend(policy, clientTicket, bytes);
    const userNs = this.#limits.spendUser(policy, userTicket, bytes);
    return Math.ceil(Math.max(clientNs, userNs) / NS_PER_MS);
  }
}
