import { SimError } from "../errors.ts";
import type { CoherentMemory } from "../machine/coherent-memory.ts";

const PAGE_BYTES = 4096;

/**
 * Physical addresses of everything the kernel keeps in shared buffers. The page allocator's arena comes first, so that its
 * offsets are addresses; other buffers follow, a page apart.
 */
export class AddressSpace {
  readonly #bases = new Map<ArrayBufferLike, number>();
  #next: number;
  readonly #end: number;

  constructor(memory: CoherentMemory, arenaBytes: number) {
    this.#next = arenaBytes;
    this.#end = memory.lines * 64;
  }

  /** The arena itself. */
  mapArena(buffer: ArrayBufferLike): void {
    this.#bases.set(buffer, 0);
  }

  /**
   * Place a buffer and return its address; one that is placed already keeps its place. Its pages belong to the node whose
   * CPU touches them first.
   */
  map(buffer: ArrayBufferLike): number {
    const known = this.#bases.get(buffer);
    if (known !== undefined) return known;
    const base = this.#next;
    this.#next += Math.ceil(buffer.byteLength / PAGE_BYTES) * PAGE_BYTES;
    if (this.#next > this.#end) {
      throw new SimError(
        "SIM_NO_PROGRESS",
        `the kernel's own structures need more than the ${this.#end} modelled bytes`,
      );
    }
    this.#bases.set(buffer, base);
    return base;
  }
}
