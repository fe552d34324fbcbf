import { CACHE_LINE_BYTES } from "@x/smp";
import type { CostTable } from "./cost-table.ts";

/*
 * A directory of cache lines and one cache per CPU, enough to make sharing, capacity and distance cost what they cost.
 *
 *   per line   owner    cpu ≥ 0: that CPU has the only copy, modified
 *                       -1: clean in memory (and in the caches of the sharers)
 *                       -2 - node: also in the last-level cache of `node` (a device wrote it there)
 *              sharers  one bit per CPU that may have a copy
 *   per CPU    tags     direct-mapped: the line each set holds. A tag counts only while the line's sharer bit is set.
 *
 * Contended lines are served one after the other: `busy` remembers the last transfer of a line, and a request that falls
 * into it waits for its end. The emulator is one thread, so plain arrays do.
 */
const LINE_SHIFT = Math.log2(CACHE_LINE_BYTES);
const IN_MEMORY = -1;
const IN_LAST_LEVEL = -2;
const BUSY_SLOTS = 1 << 14;

export interface CoherentMemoryOptions {
  readonly cpus: number;
  /** Lines of memory there are. */
  readonly lines: number;
  readonly nodeOfCpu: Int32Array;
  /** Distances as in the SLIT, row by row; 10 is local. */
  readonly distances: Float64Array;
  readonly nodes: number;
  /** Cache of one CPU, a power of two. */
  readonly cacheLines: number;
  readonly costs: CostTable;
}

/** Pages of 4 KiB share a home. A page that was given none belongs to the node whose CPU touches it first. */
const HOME_SHIFT = 12 - LINE_SHIFT;
const UNTOUCHED = 0xff;

/** Coherent memory of the machine: what a touch of a line costs, and what it does to everybody's caches. */
export class CoherentMemory {
  /** Accesses beyond the own cache that stayed on the CPU's node, and those that left it, by CPU. */
  readonly localAccesses: Float64Array;
  readonly remoteAccesses: Float64Array;
  readonly hits: Float64Array;
  /** Time spent waiting for lines in transfer, by CPU. */
  readonly contendedNs: Float64Array;

  readonly #cpus: number;
  readonly #lines: number;
  readonly #costs: CostTable;
  readonly #nodes: number;
  readonly #nodeOfCpu: Int32Array;
  readonly #distances: Float64Array;
  readonly #homes: Uint8Array;
  readonly #owners: Int16Array;
  readonly #sharers: Int32Array;
  readonly #sharerWords: number;
  readonly #tags: Int32Array;
  readonly #setMask: number;
  readonly #cacheLines: number;
  readonly #busyLine = new Int32Array(BUSY_SLOTS).fill(-1);
  readonly #busyStart = new Float64Array(BUSY_SLOTS);
  readonly #busyEnd = new Float64Array(BUSY_SLOTS);

  constructor(options: CoherentMemoryOptions) {
    const { cpus, lines, cacheLines } = options;
    this.#cpus = cpus;
    this.#lines = lines;
    this.#costs = options.costs;
    this.#nodes = options.nodes;
    this.#nodeOfCpu = options.nodeOfCpu;
    this.#distances = options.distances;
    this.#homes = new Uint8Array((lines >> HOME_SHIFT) + 1).fill(UNTOUCHED);
    this.#owners = new Int16Array(lines).fill(IN_MEMORY);
    this.#sharerWords = (cpus + 31) >> 5;
    this.#sharers = new Int32Array(lines * this.#sharerWords);
    this.#tags = new Int32Array(cpus * cacheLines).fill(-1);
    this.#setMask = cacheLines - 1;
    this.#cacheLines = cacheLines;
    this.localAccesses = new Float64Array(cpus);
    this.remoteAccesses = new Float64Array(cpus);
    this.hits = new Float64Array(cpus);
    this.contendedNs = new Float64Array(cpus);
  }

  /** Say that the bytes from `address` on belong to `node`. */
  setHome(address: number, bytes: number, node: number): void {
    const shift = LINE_SHIFT + HOME_SHIFT;
    this.#homes.fill(node, Math.floor(address / 2 ** shift), Math.ceil((address + bytes) / 2 ** shift));
  }

  /** `cpu` reads or writes the line at `address` at `timeNs`; returns the nanoseconds it takes. */
  touch(cpu: number, address: number, write: boolean, timeNs: number): number {
    const line = address >>> LINE_SHIFT;
    const set = cpu * this.#cacheLines + (line & this.#setMask);
    const word = line * this.#sharerWords + (cpu >> 5);
    const bit = 1 << (cpu & 31);
    const owner = this.#owners[line];
    const cached = this.#tags[set] === line && (this.#sharers[word] & bit) !== 0;
    if (cached && (!write || owner === cpu)) {
      this.hits[cpu]++;
      return this.#costs.cacheHitNs;
    }
    let costNs = cached ? this.#upgradeCost(cpu, line) : this.#fetchCost(cpu, line, owner);
    if (!cached) this.#place(cpu, set, line);
    if (write) {
      this.#invalidate(line);
      this.#owners[line] = cpu;
    } else if (owner >= 0) {
      this.#owners[line] = IN_MEMORY;
    }
    this.#sharers[word] |= bit;
    costNs += this.#queue(cpu, line, timeNs, costNs);
    return costNs;
  }

  /** As {@link CoherentMemory.touch} for every line of a range. */
  touchRange(cpu: number, address: number, bytes: number, write: boolean, timeNs: number): number {
    const end = address + bytes;
    let costNs = 0;
    for (let at = address & ~(CACHE_LINE_BYTES - 1); at < end; at += CACHE_LINE_BYTES) {
      costNs += this.touch(cpu, at, write, timeNs + costNs);
    }
    return costNs;
  }

  /** A device on `node` writes a range: every cached copy goes, the lines are in that node's last-level cache. */
  deviceWrite(node: number, address: number, bytes: number): void {
    const last = (address + bytes - 1) >>> LINE_SHIFT;
    for (let line = address >>> LINE_SHIFT; line <= last; line++) {
      this.#invalidate(line);
      this.#owners[line] = IN_LAST_LEVEL - node;
    }
  }

  /** Lines the directory covers. */
  get lines(): number {
    return this.#lines;
  }

  /** Check the directory against itself: an owned line has exactly one sharer, its owner. For tests. */
  verify(): void {
    for (let line = 0; line < this.#lines; line++) {
      const owner = this.#owners[line];
      if (owner < 0) continue;
      for (let cpu = 0; cpu < this.#cpus; cpu++) {
        const shared = (this.#sharers[line * this.#sharerWords + (cpu >> 5)] & (1 << (cpu & 31))) !== 0;
        if (shared !== (cpu === owner)) throw new Error(`line ${line} is owned by CPU ${owner}, CPU ${cpu} shares it`);
      }
    }
  }

  #upgradeCost(cpu: number, line: number): number {
    let farthest = 0;
    for (let word = 0; word < this.#sharerWords; word++) {
      let bits = this.#sharers[line * this.#sharerWords + word];
      if (word === cpu >> 5) bits &= ~(1 << (cpu & 31));
      while (bits !== 0) {
        const other = (word << 5) + (31 - Math.clz32(bits & -bits));
        farthest = Math.max(farthest, this.#transferCost(cpu, this.#nodeOfCpu[other]));
        bits &= bits - 1;
      }
    }
    return farthest === 0 ? this.#costs.cacheHitNs : farthest;
  }

  #fetchCost(cpu: number, line: number, owner: number): number {
    const node = this.#nodeOfCpu[cpu];
    const from = owner >= 0 ? this.#nodeOfCpu[owner] : owner <= IN_LAST_LEVEL ? IN_LAST_LEVEL - owner : this.#home(line, node);
    if (from === node) this.localAccesses[cpu]++;
    else this.remoteAccesses[cpu]++;
    if (owner >= 0) return this.#transferCost(cpu, from);
    const base = owner <= IN_LAST_LEVEL && from === node ? this.#costs.lastLevelHitNs : this.#costs.dramNs;
    return (base * this.#distances[node * this.#nodes + from]) / 10;
  }

  #home(line: number, toucher: number): number {
    const page = line >> HOME_SHIFT;
    if (this.#homes[page] === UNTOUCHED) this.#homes[page] = toucher;
    return this.#homes[page];
  }

  #transferCost(cpu: number, from: number): number {
    return (this.#costs.cacheTransferNs * this.#distances[this.#nodeOfCpu[cpu] * this.#nodes + from]) / 10;
  }

  /** Put `line` into the CPU's set; what was there leaves, back to memory if it was modified. */
  #place(cpu: number, set: number, line: number): void {
    const old = this.#tags[set];
    if (old >= 0 && old !== line) {
      if (this.#owners[old] === cpu) this.#owners[old] = IN_MEMORY;
      this.#sharers[old * this.#sharerWords + (cpu >> 5)] &= ~(1 << (cpu & 31));
    }
    this.#tags[set] = line;
  }

  #invalidate(line: number): void {
    const first = line * this.#sharerWords;
    for (let word = 0; word < this.#sharerWords; word++) this.#sharers[first + word] = 0;
  }

  /** Wait for a transfer of the same line that is under way, and be the transfer the next one waits for. */
  #queue(cpu: number, line: number, timeNs: number, costNs: number): number {
    const slot = line & (BUSY_SLOTS - 1);
    let waitNs = 0;
    if (this.#busyLine[slot] === line && timeNs >= this.#busyStart[slot] && timeNs < this.#busyEnd[slot]) {
      waitNs = this.#busyEnd[slot] - timeNs;
      this.contendedNs[cpu] += waitNs;
    }
    this.#busyLine[slot] = line;
    this.#busyStart[slot] = timeNs + waitNs;
    this.#busyEnd[slot] = timeNs + waitNs + costNs;
    return waitNs;
  }
}
