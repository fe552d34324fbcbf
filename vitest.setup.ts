// What tests draw at random repeats: fast-check's inputs and the secrets of hash tables come from one seed, so that a failure in one place is a
// failure everywhere. `TEST_SEED=N` explores others.
import { configureGlobal } from "fast-check";

const seed = Number(process.env.TEST_SEED ?? 1);
if (!Number.isSafeInteger(seed)) throw new Error(`TEST_SEED must be an integer, not «${process.env.TEST_SEED}»`);
configureGlobal({ seed });

// Mulberry32, by Tommy Ettinger.
let state = seed | 0;
function nextByte(): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return (mixed ^ (mixed >>> 14)) & 0xff;
}

globalThis.crypto.getRandomValues = <T extends ArrayBufferView | null>(array: T): T => {
  if (array !== null) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let index = 0; index < bytes.length; index++) bytes[index] = nextByte();
  }
  return array;
};
