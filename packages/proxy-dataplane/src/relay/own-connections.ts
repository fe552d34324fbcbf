import { FlowTable, FLOW_KEY_WORDS, type FlowTableHandle } from "@x/perf-cache";
import type { Rcu } from "@x/rcu";
import { soloHal, SpinLocks, type CpuId, type Hal } from "@x/smp";
import { IpProtocol } from "../protocols.ts";
import { endsKey } from "./connection-table.ts";
import type { Endpoint } from "./engine.ts";

/**
 * The connections that the proxy itself has made, of all workers, by both ends. Where the packet filter redirects what this host sends, such a
 * connection comes back: its client's end is the proxy's own, its original destination where the proxy went. No other connection of the
 * host has both.
 *
 * Thread-safety: any thread adds, finds, deletes what it added; `reap` from any.
 */
export class OwnConnections {
  readonly handle: FlowTableHandle;
  readonly #table: FlowTable;
  readonly #hal: Hal;
  readonly #key = new Int32Array(FLOW_KEY_WORDS);

  private constructor(table: FlowTable, hal: Hal) {
    this.handle = table.handle;
    this.#table = table;
    this.#hal = hal;
  }

  static create(options: { readonly capacity: number; readonly hal?: Hal; readonly rcu?: Rcu }): OwnConnections {
    const { capacity, hal = soloHal(), rcu } = options;
    // CPUs keep freed entries for themselves: there are more of them than connections.
    const room = Math.ceil(capacity * 1.25) + 1024 * hal.possibleCpus;
    return new OwnConnections(FlowTable.create({ capacity: room, hal, rcu }), hal);
  }

  static attach(handle: FlowTableHandle, options: { readonly hal: Hal; readonly rcu: Rcu }): OwnConnections {
    return new OwnConnections(FlowTable.attach(handle, options), options.hal);
  }

  /** How many are known. */
  get size(): number {
    return this.#table.size;
  }

  /** A connection from `own` to `to`. Returns what to delete; 0 where it is not noted: no addresses, or no room. */
  add(own: Endpoint, to: Endpoint): number {
    if (!this.#describe(own, to)) return 0;
    const entry = this.#table.insert(this.#key, 0, this.#table.hash(this.#key, 0), this.#hal.currentCpu() + 1);
    return this.#table.inserted ? entry : 0;
  }

  has(own: Endpoint, to: Endpoint): boolean {
    return this.#describe(own, to) && this.#table.lookup(this.#key, 0, this.#table.hash(this.#key, 0)) !== 0;
  }

  delete(entry: number): void {
    this.#table.delete(entry);
  }

  /** The thread of `cpu` has ended, and with it its connections. */
  reap(cpu: CpuId): void {
    this.#table.reportDead(cpu);
    SpinLocks.attach(this.handle.locks, { hal: this.#hal }).releaseDeadOwner(cpu);
    const dead: number[] = [];
    this.#table.forEach((entry) => {
      if (this.#table.value(entry) === cpu + 1) dead.push(entry);
    });
    for (const entry of dead) this.#table.delete(entry);
  }

  #describe(own: Endpoint, to: Endpoint): boolean {
    return own.port !== 0 && endsKey(this.#key, own, to, IpProtocol.Tcp);
  }
}
