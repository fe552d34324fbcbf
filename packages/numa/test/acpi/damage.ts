/** xorshift32 (Marsaglia 2003): one number after the other, the same for the same seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** 0 to `below - 1`. */
  roll(below: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % below;
  }
}

/** Values that lengths and counts are wrong with most often. */
const TELLING = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xfe, 0xff];

type Damage = (bytes: Uint8Array, dice: Dice) => Uint8Array;

const flipBit: Damage = (bytes, dice) => {
  bytes[dice.roll(bytes.length)] ^= 1 << dice.roll(8);
  return bytes;
};
const overwrite: Damage = (bytes, dice) => {
  bytes[dice.roll(bytes.length)] = dice.roll(2) === 0 ? dice.roll(256) : TELLING[dice.roll(TELLING.length)];
  return bytes;
};
const overwriteWord: Damage = (bytes, dice) => {
  const at = dice.roll(bytes.length);
  const value = TELLING[dice.roll(TELLING.length)];
  return bytes.fill(value, at, at + 1 + dice.roll(8));
};
const truncate: Damage = (bytes, dice) => bytes.subarray(0, dice.roll(bytes.length));
const cutOut: Damage = (bytes, dice) => {
  const from = dice.roll(bytes.length);
  return Uint8Array.of(...bytes.subarray(0, from), ...bytes.subarray(from + 1 + dice.roll(16)));
};
const repeat: Damage = (bytes, dice) => {
  const from = dice.roll(bytes.length);
  const part = bytes.subarray(from, from + 1 + dice.roll(32));
  return Uint8Array.of(...bytes.subarray(0, from), ...part, ...bytes.subarray(from));
};
const KINDS: readonly Damage[] = [flipBit, overwrite, overwrite, overwriteWord, truncate, cutOut, repeat];

/** A copy of `bytes` with one to four things wrong, each of which is a function of `dice` alone. */
export function damaged(bytes: Uint8Array, dice: Dice): Uint8Array {
  let copy: Uint8Array = bytes.slice();
  for (let times = 1 + dice.roll(4); times > 0 && copy.length > 0; times--) {
    copy = KINDS[dice.roll(KINDS.length)](copy, dice);
  }
  return copy;
}

/** As {@link damaged}, but of two tables in three the header's length is that of the bytes, so that the damage behind it is reached. */
export function damagedTable(bytes: Uint8Array, dice: Dice): Uint8Array {
  const copy = damaged(bytes, dice).slice();
  if (copy.length >= 8 && dice.roll(3) > 0) new DataView(copy.buffer).setUint32(4, copy.length, true);
  return copy;
}
