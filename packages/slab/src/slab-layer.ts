import { NODE, nodeWord } from "./control.ts";
import { SlabError } from "./errors.ts";
import type { SlabGeometry } from "./geometry.ts";
import { HEADER_BYTES } from "./geometry.ts";

/*
 * Words of a slab's header. MAGIC, HOME and FIRST are written before the slab's first object is given out and then only
 * read, until the slab goes back; the others and the bitmap are under the lock of the slab's home node.
 */
const MAGIC = 0;
const NEXT = 1;
const PREVIOUS = 2;
const IN_USE = 3;
const HOME = 4;
const FIRST = 5;
/** No bitmap word before this one has a free object. */
const HINT = 6;
const BITMAP = HEADER_BYTES / 4;

/** Empty slabs a node keeps, so that one object going back and forth does not make and return a slab each time. */
const KEPT_EMPTY_SLABS = 1;

function hashName(name: string): number {
  let hash = 0x811c9dc5; // FNV-1a, 32 bits
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash;
}

/**
 * The slabs of one cache: three lists per node (partial, full, empty) of blocks with a bitmap of the objects in use.
 *
 * Every method but `homeOf`, `assertObject` and `format` is called with the lock of the node held.
 */
export class SlabLayer {
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #geometry: SlabGeometry;
  readonly #magic: number;
  readonly #mask: number;
  readonly #bitmapWords: number;
  readonly #keepEmpty: number;

  constructor(words: Int32Array, control: Int32Array, geometry: SlabGeometry, name: string, typeStable: boolean) {
    this.#words = words;
    this.#control = control;
    this.#geometry = geometry;
    this.#magic = hashName(name);
    this.#mask = ~(geometry.slabBytes - 1);
    this.#bitmapWords = Math.ceil(geometry.objectsPerSlab / 32);
    this.#keepEmpty = typeStable ? Infinity : KEPT_EMPTY_SLABS;
  }

  /** Node whose lists the slab of `object` is on. Throws `SLAB_FOREIGN_OBJECT`. */
  homeOf(object: number): number {
    const at = (object & this.#mask) >> 2;
    if (object <= 0 || this.#words[at + MAGIC] !== (this.#magic ^ at)) this.#foreign(object);
    return this.#words[at + HOME];
  }

  /** Throws `SLAB_FOREIGN_OBJECT` unless an object starts at this offset. */
  assertObject(object: number): void {
    this.homeOf(object);
    this.#indexOf(object);
  }

  /** Prepare the header of a fresh block; nobody else knows it yet. */
  format(slab: number, home: number, colour: number): void {
    const at = slab >> 2;
    const words = this.#words;
    const { objectsPerSlab, firstBytes, colourBytes } = this.#geometry;
    words[at + MAGIC] = this.#magic ^ at;
    words[at + IN_USE] = 0;
    words[at + HOME] = home;
    words[at + FIRST] = firstBytes + colour * colourBytes;
    words[at + HINT] = 0;
    for (let i = 0; i < this.#bitmapWords; i++) words[at + BITMAP + i] = 0;
    // The bits past the last object are set for ever, so that the search never finds them.
    if (objectsPerSlab % 32 !== 0) words[at + BITMAP + this.#bitmapWords - 1] = -1 << (objectsPerSlab % 32);
  }

  /** The colour of the next slab of `node`. */
  nextColour(node: number): number {
    const at = nodeWord(node) + NODE.colour;
    return (this.#control[at]++ >>> 0) % this.#geometry.colours;
  }

  /** Distance of the first object from the start of a formatted slab. */
  firstOf(slab: number): number {
    return this.#words[(slab >> 2) + FIRST];
  }

  /** Put a formatted slab on the lists of its node. */
  adopt(slab: number): void {
    const node = this.#words[(slab >> 2) + HOME];
    this.#control[nodeWord(node) + NODE.slabs]++;
    this.#control[nodeWord(node) + NODE.emptyCount]++;
    this.#link(slab, node, NODE.empty);
  }

  /** Take up to `count` objects of `node` into control words from `at`; returns how many there were. */
  take(node: number, at: number, count: number): number {
    let taken = 0;
    while (taken < count) {
      const base = nodeWord(node);
      const slab = this.#control[base + NODE.partial] || this.#control[base + NODE.empty];
      if (slab === 0) break;
      taken += this.#takeFrom(slab, node, at + taken, count - taken);
    }
    const base = nodeWord(node);
    this.#control[base + NODE.inUse] += taken;
    if (this.#control[base + NODE.inUse] > this.#control[base + NODE.peakInUse]) {
      this.#control[base + NODE.peakInUse] = this.#control[base + NODE.inUse];
    }
    return taken;
  }

  /** Take an object back. Returns the slab when it is off the lists now and must go back to the page source, else 0. */
  give(object: number): number {
    const slab = object & this.#mask;
    const at = slab >> 2;
    const words = this.#words;
    const index = this.#indexOf(object);
    const word = index >> 5;
    const bit = 1 << (index & 31);
    if ((words[at + BITMAP + word] & bit) === 0) {
      throw new SlabError("SLAB_DOUBLE_FREE", `the object at ${object} is free already`);
    }
    words[at + BITMAP + word] &= ~bit;
    if (word < words[at + HINT]) words[at + HINT] = word;
    const before = words[at + IN_USE]--;
    this.#control[nodeWord(words[at + HOME]) + NODE.inUse]--;
    return this.#relist(slab, before);
  }

  /** Take one empty slab of `node` off the lists, to be returned to the page source; 0 = none. */
  removeEmpty(node: number): number {
    const slab = this.#control[nodeWord(node) + NODE.empty];
    if (slab === 0) return 0;
    this.#remove(slab, node);
    return slab;
  }

  /** Call `visit` with every object of `node` that is out of its slab. */
  forEachInUse(node: number, visit: (object: number) => void): void {
    for (const list of [NODE.partial, NODE.full]) {
      let slab = this.#control[nodeWord(node) + list];
      while (slab !== 0) {
        this.#visitSlab(slab, visit);
        slab = this.#words[(slab >> 2) + NEXT];
      }
    }
  }

  #indexOf(object: number): number {
    const slab = object & this.#mask;
    const index = (object - slab - this.#words[(slab >> 2) + FIRST]) / this.#geometry.strideBytes;
    if (!Number.isInteger(index) || index < 0 || index >= this.#geometry.objectsPerSlab) this.#foreign(object);
    return index;
  }

  #visitSlab(slab: number, visit: (object: number) => void): void {
    const at = slab >> 2;
    for (let index = 0; index < this.#geometry.objectsPerSlab; index++) {
      if ((this.#words[at + BITMAP + (index >> 5)] & (1 << (index & 31))) === 0) continue;
      visit(slab + this.#words[at + FIRST] + index * this.#geometry.strideBytes);
    }
  }

  #takeFrom(slab: number, node: number, at: number, count: number): number {
    const words = this.#words;
    const header = slab >> 2;
    const first = slab + words[header + FIRST];
    const before = words[header + IN_USE];
    let taken = 0;
    let word = words[header + HINT];
    for (; word < this.#bitmapWords && taken < count; word++) {
      let free = ~words[header + BITMAP + word];
      while (free !== 0 && taken < count) {
        const bit = 31 - Math.clz32(free & -free);
        free &= free - 1;
        this.#control[at + taken++] = first + ((word << 5) + bit) * this.#geometry.strideBytes;
      }
      words[header + BITMAP + word] = ~free;
      if (free !== 0) break;
    }
    words[header + HINT] = word;
    words[header + IN_USE] = before + taken;
    this.#unlink(slab, node, before === 0 ? NODE.empty : NODE.partial);
    if (before === 0) this.#control[nodeWord(node) + NODE.emptyCount]--;
    this.#link(slab, node, before + taken === this.#geometry.objectsPerSlab ? NODE.full : NODE.partial);
    return taken;
  }

  #relist(slab: number, before: number): number {
    const node = this.#words[(slab >> 2) + HOME];
    const wasFull = before === this.#geometry.objectsPerSlab;
    if (before > 1 && !wasFull) return 0;
    this.#unlink(slab, node, wasFull ? NODE.full : NODE.partial);
    if (before > 1) {
      this.#link(slab, node, NODE.partial);
      return 0;
    }
    this.#link(slab, node, NODE.empty);
    if (++this.#control[nodeWord(node) + NODE.emptyCount] <= this.#keepEmpty) return 0;
    this.#remove(slab, node);
    return slab;
  }

  #remove(slab: number, node: number): void {
    this.#unlink(slab, node, NODE.empty);
    this.#control[nodeWord(node) + NODE.emptyCount]--;
    this.#control[nodeWord(node) + NODE.slabs]--;
    this.#words[(slab >> 2) + MAGIC] = 0;
  }

  #link(slab: number, node: number, list: number): void {
    const words = this.#words;
    const head = nodeWord(node) + list;
    const next = this.#control[head];
    words[(slab >> 2) + NEXT] = next;
    words[(slab >> 2) + PREVIOUS] = 0;
    if (next !== 0) words[(next >> 2) + PREVIOUS] = slab;
    this.#control[head] = slab;
  }

  #unlink(slab: number, node: number, list: number): void {
    const words = this.#words;
    const next = words[(slab >> 2) + NEXT];
    const previous = words[(slab >> 2) + PREVIOUS];
    if (previous === 0) this.#control[nodeWord(node) + list] = next;
    else words[(previous >> 2) + NEXT] = next;
    if (next !== 0) words[(next >> 2) + PREVIOUS] = previous;
  }

  #foreign(object: number): never {
    throw new SlabError("SLAB_FOREIGN_OBJECT", `no slab of this cache holds an object at ${object}`);
  }
}
