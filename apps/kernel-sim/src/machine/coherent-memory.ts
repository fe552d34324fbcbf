import { CACHE_LINE_BYTES } from "@x/smp";
import { SimError } from "../errors.ts";
import type { CostTable } from "./cost-table.ts";

/*
 * A directory of cache lines and one cache per CPU, enough to make sharing, capacity and distance cost what they cost.
 *
 *   directory, w words a line   bits 0 … 7 of the first   0: clean in memory (and in the caches of the sharers)
 *                                                         1: the only sharer owns it, modified or exclusive
 *                                                         2 + node: also in the last-level cache of `node`, where a
 *                                                            device wrote it
 *                               bit 8 + cpu, over all     that CPU has a copy
 *   tags, one a set and CPU     1 + line ÷ sets of the line that came last: a direct-mapped cache
 *
 * Up to 24 CPUs the directory has one word a line, and a hit looks at that word alone. Invariants: an owned line has one
 * sharer; a sharer's tag is the line's. A tag may be stale, its line having been taken away since: so taking away touches no tag.
 *
 * Contended lines are served one after the other: `busy` remembers the last transfer of a line, and a request that falls
 * into it waits for its end. The emulator is one thread, so plain arrays do.
 */
const LINE_SHIFT = Math.log2(CACHE_LINE_BYTES);
const STATE = 0xff;
const OWNED = 1;
const IN_LAST_LEVEL = 2;
const CPU_SHIFT = 8;
const NO_TAG = 0;
/** Transfers that are remembered, {@link BUSY_WORDS} doubles each: the line, and when it began and ends. */
const BUSY_SLOTS = 1 << 12;
const BUSY_WORDS = 4;

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
  /** Local clock of each CPU, nanoseconds. */
  readonly clocks: Float64Array;
  readonly costs: CostTable;
}

/** Addresses are 32-bit words. */
const MAX_LINES = 2 ** (32 - LINE_SHIFT);

/** Pages of 4 KiB share a home. A page that was given none belongs to the node whose CPU touches it first. */
const HOME_SHIFT = 12 - LINE_SHIFT;
const UNTOUCHED = 0xff;

/** Coherent memory of the machine: what a touch of a line costs, and what it does to everybody's caches. */
export class CoherentMemory {
  /** Accesses beyond the own cache that stayed on the CPU's node, and those that left it, by CPU. */
  readonly localAccesses: Float64Array;
  readonly remoteAccesses: Float64Array;
  /** Time spent waiting for lines in transfer, by CPU. */
  readonly contendedNs: Float64Array;

  readonly #cpus: number;
  readonly #lines: number;
  readonly #costs: CostTable;
  readonly #nodes: number;
  readonly #nodeOfCpu: Int32Array;
  readonly #homes: Uint8Array;
  readonly #directory: Int32Array;
  readonly #lineWords: number;
  readonly #tags: Uint16Array | Int32Array;
  readonly #setMask: number;
  readonly #tagShift: number;
  readonly #clocks: Float64Array;
  readonly #cacheHitNs: number;
  /** Costs by toucher's node and line's node: a transfer from another cache, and DRAM. */
  readonly #transferNs: Int32Array;
  readonly #dramNs: Int32Array;
  readonly #busy = new Float64Array(BUSY_SLOTS * BUSY_WORDS).fill(-1);

  /** Throws `SIM_MEMORY` for more memory than addresses reach. */
  constructor(options: CoherentMemoryOptions) {
    const { cpus, lines, cacheLines } = options;
    if (lines > MAX_LINES) throw tooMuch(lines);
    this.#cpus = cpus;
    this.#lines = lines;
    this.#costs = options.costs;
    this.#nodes = options.nodes;
    this.#nodeOfCpu = options.nodeOfCpu;
    this.#homes = new Uint8Array((lines >> HOME_SHIFT) + 1).fill(UNTOUCHED);
    this.#lineWords = (CPU_SHIFT + cpus + 31) >> 5;
    // All zero: clean in memory. What no CPU ever touches costs the host no memory either.
    this.#directory = new Int32Array(lines * this.#lineWords);
    this.#tags = lines / cacheLines < 0xffff ? new Uint16Array(cpus * cacheLines) : new Int32Array(cpus * cacheLines);
    this.#setMask = cacheLines - 1;
    this.#tagShift = Math.log2(cacheLines);
    this.#clocks = options.clocks;
    this.#cacheHitNs = options.costs.cacheHitNs;
    this.#transferNs = byDistance(options.costs.cacheTransferNs, options.distances);
    this.#dramNs = byDistance(options.costs.dramNs, options.distances);
    this.localAccesses = new Float64Array(cpus);
    this.remoteAccesses = new Float64Array(cpus);
    this.contendedNs = new Float64Array(cpus);
  }

  /** Say that the bytes from `address` on belong to `node`. */
  setHome(address: number, bytes: number, node: number): void {
    const shift = LINE_SHIFT + HOME_SHIFT;
    this.#homes.fill(node, Math.floor(address / 2 ** shift), Math.ceil((address + bytes) / 2 ** shift));
  }

  /** `cpu` reads or writes the line at `address` at its present time; returns the nanoseconds it takes. */
  touch(cpu: number, address: number, write: boolean): number {
    return this.#touchLines(cpu, address >>> LINE_SHIFT, address >>> LINE_SHIFT, write ? STATE : 0);
  }

  /** As {@link CoherentMemory.touch} for every line of a range. */
  touchRange(cpu: number, address: number, bytes: number, write: boolean): number {
    const last = (address + bytes - 1) >>> LINE_SHIFT;
    return this.#touchLines(cpu, address >>> LINE_SHIFT, last, write ? STATE : 0);
  }

  /** A device on `node` writes a range: every cached copy goes, the lines are in that node's last-level cache. */
  deviceWrite(node: number, address: number, bytes: number): void {
    const directory = this.#directory;
    const words = this.#lineWords;
    const last = (address + bytes - 1) >>> LINE_SHIFT;
    for (let line = address >>> LINE_SHIFT; line <= last; line++) {
      directory[line * words] = IN_LAST_LEVEL + node;
      for (let word = 1; word < words; word++) directory[line * words + word] = 0;
    }
  }

  /** Lines the directory covers. */
  get lines(): number {
    return this.#lines;
  }

  /** Check the invariants. For tests: looks at every line and every tag. */
  verify(): void {
    for (let line = 0; line < this.#lines; line++) {
      let sharers = 0;
      for (let cpu = 0; cpu < this.#cpus; cpu++) {
        if (!this.#isSharer(line, cpu)) continue;
        sharers++;
        const tag = this.#tags[this.#set(cpu, line)];
        if (tag !== this.#tag(line)) throw new Error(`line ${line}: CPU ${cpu} has a copy, but its tag is ${tag}`);
      }
      const owned = (this.#directory[line * this.#lineWords] & STATE) === OWNED;
      if (owned && sharers !== 1) throw new Error(`line ${line} is owned and has ${sharers} sharers`);
    }
  }

  /**
   * Hits are told here, where the loop's loads serve for all; nearly all touches are hits.
   *
   * @param owned - bits of the state that must say that the CPU owns the line: of a write {@link STATE}, of a read none
   */
  #touchLines(cpu: number, first: number, last: number, owned: number): number {
    const directory = this.#directory;
    const words = this.#lineWords;
    if (words > 1) return this.#touchWide(cpu, first, last, owned);
    const mask = 1 << (CPU_SHIFT + cpu);
    let costNs = 0;
    for (let line = first; line <= last; line++) {
      const entry = directory[line];
      if ((entry & mask) === 0) costNs += this.#fetch(cpu, line, owned !== 0);
      else if (((entry ^ OWNED) & owned) === 0) costNs += this.#cacheHitNs;
      else costNs += this.#upgrade(cpu, line);
    }
    return costNs;
  }

  /** The same where a line has several words. */
  #touchWide(cpu: number, first: number, last: number, owned: number): number {
    const directory = this.#directory;
    const words = this.#lineWords;
    const bit = CPU_SHIFT + cpu;
    const mask = 1 << (bit & 31);
    const word = bit >> 5;
    let costNs = 0;
    for (let line = first; line <= last; line++) {
      const at = line * words;
      if ((directory[at + word] & mask) === 0) costNs += this.#fetch(cpu, line, owned !== 0);
      else if (((directory[at] ^ OWNED) & owned) === 0) costNs += this.#cacheHitNs;
      else costNs += this.#upgrade(cpu, line);
    }
    return costNs;
  }

  #set(cpu: number, line: number): number {
    return (cpu << this.#tagShift) + (line & this.#setMask);
  }

  #tag(line: number): number {
    return (line >> this.#tagShift) + 1;
  }

  #isSharer(line: number, cpu: number): boolean {
    const bit = CPU_SHIFT + cpu;
    return (this.#directory[line * this.#lineWords + (bit >> 5)] & (1 << (bit & 31))) !== 0;
  }

  /** A copy becomes the only one. */
  #upgrade(cpu: number, line: number): number {
    const costNs = this.#farthestSharer(cpu, line);
    this.#takeOver(cpu, line);
    return costNs + this.#queue(cpu, line, costNs);
  }

  /** A line comes from where it is. */
  #fetch(cpu: number, line: number, write: boolean): number {
    const directory = this.#directory;
    const at = line * this.#lineWords;
    const state = directory[at] & STATE;
    let costNs = this.#fetchCost(cpu, line, state);
    if (state === OWNED) {
      costNs += this.#queue(cpu, line, costNs);
      directory[at] &= ~STATE;
    }
    this.#makeRoom(cpu, line);
    // Who reads a line that nobody else has gets it exclusively (the E of MESI), and may write it without asking.
    if (write || this.#isUnshared(at)) this.#takeOver(cpu, line);
    else {
      const bit = CPU_SHIFT + cpu;
      directory[at + (bit >> 5)] |= 1 << (bit & 31);
    }
    return costNs;
  }

  #isUnshared(at: number): boolean {
    if ((this.#directory[at] & ~STATE) !== 0) return false;
    for (let word = 1; word < this.#lineWords; word++) if (this.#directory[at + word] !== 0) return false;
    return true;
  }

  /** Any sharer; the owner if the line is owned. -1: none. */
  #lastSharer(at: number): number {
    for (let word = this.#lineWords - 1; word >= 0; word--) {
      const bits = word === 0 ? this.#directory[at] & ~STATE : this.#directory[at + word];
      if (bits !== 0) return (word << 5) + 31 - Math.clz32(bits) - CPU_SHIFT;
    }
    return -1;
  }

  #farthestSharer(cpu: number, line: number): number {
    const row = this.#nodeOfCpu[cpu] * this.#nodes;
    let costNs = this.#cacheHitNs;
    for (let word = 0; word < this.#lineWords; word++) {
      let bits = this.#directory[line * this.#lineWords + word];
      if (word === 0) bits &= ~STATE;
      for (; bits !== 0; bits &= bits - 1) {
        const other = (word << 5) + (31 - Math.clz32(bits & -bits)) - CPU_SHIFT;
        if (other !== cpu) costNs = Math.max(costNs, this.#transferNs[row + this.#nodeOfCpu[other]]);
      }
    }
    return costNs;
  }

  #fetchCost(cpu: number, line: number, state: number): number {
    const node = this.#nodeOfCpu[cpu];
    const from =
      state === OWNED
        ? this.#nodeOfCpu[this.#lastSharer(line * this.#lineWords)]
        : state >= IN_LAST_LEVEL
          ? state - IN_LAST_LEVEL
          : this.#home(line, node);
    if (from === node) this.localAccesses[cpu]++;
    else this.remoteAccesses[cpu]++;
    if (state === OWNED) return this.#transferNs[node * this.#nodes + from];
    return state >= IN_LAST_LEVEL && from === node
      ? this.#costs.lastLevelHitNs
      : this.#dramNs[node * this.#nodes + from];
  }

  #home(line: number, toucher: number): number {
    const page = line >> HOME_SHIFT;
    if (this.#homes[page] === UNTOUCHED) this.#homes[page] = toucher;
    return this.#homes[page];
  }

  /** The line gets its place in the CPU's cache; what was there leaves, back to memory if it was modified. */
  #makeRoom(cpu: number, line: number): void {
    const set = this.#set(cpu, line);
    const tag = this.#tag(line);
    const old = this.#tags[set];
    this.#tags[set] = tag;
    if (old === NO_TAG || old === tag) return;
    const directory = this.#directory;
    const at = (((old - 1) << this.#tagShift) | (line & this.#setMask)) * this.#lineWords;
    const bit = CPU_SHIFT + cpu;
    const mask = 1 << (bit & 31);
    if ((directory[at + (bit >> 5)] & mask) === 0) return;
    directory[at + (bit >> 5)] &= ~mask;
    if ((directory[at] & STATE) === OWNED) directory[at] &= ~STATE;
  }

  /** The CPU owns the line, and no other has a copy any more. */
  #takeOver(cpu: number, line: number): void {
    const directory = this.#directory;
    const words = this.#lineWords;
    const at = line * words;
    for (let word = 1; word < words; word++) directory[at + word] = 0;
    const bit = CPU_SHIFT + cpu;
    directory[at] = OWNED;
    directory[at + (bit >> 5)] |= 1 << (bit & 31);
  }

  /** Wait for a transfer of the same line that is under way, and be the transfer the next one waits for. */
  #queue(cpu: number, line: number, costNs: number): number {
    const busy = this.#busy;
    const timeNs = this.#clocks[cpu];
    const slot = (line & (BUSY_SLOTS - 1)) * BUSY_WORDS;
    let waitNs = 0;
    if (busy[slot] === line && timeNs >= busy[slot + 1] && timeNs < busy[slot + 2]) {
      waitNs = Math.ceil(busy[slot + 2] - timeNs);
      this.contendedNs[cpu] += waitNs;
    }
    busy[slot] = line;
    busy[slot + 1] = timeNs + waitNs;
    busy[slot + 2] = timeNs + waitNs + costNs;
    return waitNs;
  }
}

function tooMuch(lines: number): SimError {
  const [asked, most] = [lines, MAX_LINES].map((count) => Math.ceil((count * CACHE_LINE_BYTES) / 2 ** 20));
  const message = `${asked} MiB of memory are asked for; ${most} MiB can be modelled: lower kernel.memoryMiBPerNode`;
  return new SimError("SIM_MEMORY", message);
}

/** A cost at distance 10, scaled to every distance of the matrix. */
function byDistance(costNs: number, distances: Float64Array): Int32Array {
  return Int32Array.from(distances, (distance) => Math.round((costNs * distance) / 10));
}
