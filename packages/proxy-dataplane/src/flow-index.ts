import { KEY_WORDS } from "./packet-info.ts";

const FIRST_SLOTS = 1024;

/**
 * Numbers distinct flow keys in order of appearance: open addressing over typed arrays, one thread. A key and its
 * reverse (source and destination swapped) are the same flow.
 */
export class FlowIndex {
  /** Keys by number, {@link KEY_WORDS} words each, as they first appeared. */
  keys: Int32Array = new Int32Array((FIRST_SLOTS / 2) * KEY_WORDS);
  count = 0;
  /** Whether the key found last came the other way round than when it first appeared. */
  reversed = false;
  /** Number + 1 of the key in each slot; 0 is empty. */
  #slots = new Int32Array(FIRST_SLOTS);

  /** The number of a key's flow; a new one when it is new. */
  add(key: Int32Array): number {
    if (this.count * 2 >= this.#slots.length) this.#grow();
    const mask = this.#slots.length - 1;
    let slot = symmetricHash(key, 0) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const number = this.#slots[slot] - 1;
      if (this.#matches(number, key)) return number;
    }
    this.keys.set(key, this.count * KEY_WORDS);
    this.reversed = false;
    this.#slots[slot] = ++this.count;
    return this.count - 1;
  }

  #matches(number: number, key: Int32Array): boolean {
    const { keys } = this;
    const at = number * KEY_WORDS;
    if (keys[at + 9] !== key[9]) return false;
    let same = keys[at + 8] === key[8];
    let swapped = keys[at + 8] === swapPorts(key[8]);
    for (let i = 0; i < 4; i++) {
      same &&= keys[at + i] === key[i] && keys[at + 4 + i] === key[4 + i];
      swapped &&= keys[at + i] === key[4 + i] && keys[at + 4 + i] === key[i];
    }
    this.reversed = !same;
    return same || swapped;
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const keys = new Int32Array((slots.length / 2) * KEY_WORDS);
    keys.set(this.keys);
    for (let number = 0; number < this.count; number++) {
      let slot = symmetricHash(keys, number * KEY_WORDS) & (slots.length - 1);
      while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
      slots[slot] = number + 1;
    }
    this.keys = keys;
    this.#slots = slots;
  }
}

export function swapPorts(ports: number): number {
  return (ports << 16) | (ports >>> 16);
}

/** The finalizer of MurmurHash3 over a sum that is the same for both directions. */
function symmetricHash(key: Int32Array, at: number): number {
  let hash = Math.imul((key[at + 8] >>> 16) + (key[at + 8] & 0xffff), 0x9e3779b1) ^ key[at + 9];
  for (let i = 0; i < 4; i++) hash = Math.imul(hash ^ (mix(key[at + i]) + mix(key[at + 4 + i])), 0x85ebca6b);
  return mix(hash);
}

function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
