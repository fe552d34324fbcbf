import { FLOW_KEY_IPV6 } from "./flow-key.ts";

// A constant of the module that uses it is part of the code; see flow-reader.ts.
const IPV6 = FLOW_KEY_IPV6;

/*
 * Keys as entries hold them: words in the order of the key, but for flow keys. Of those the words that name an IPv4 flow come first, so that
 * lookup-wasm.ts compares them all at once:
 *
 *   | 0, 4, 8, 9: source, destination, ports, protocol and kind | 1, 2, 3, 5, 6, 7: 0 in a key of IPv4 |
 */
/** The word of a flow key that each stored word is. */
export const STORED_WORDS: readonly number[] = [0, 4, 8, 9, 1, 2, 3, 5, 6, 7];

/** How many words a key has, for the functions below: FLOW_KEY in a table of flow keys. */
const FLOW_KEY = 0;
export const comparedWords = (table: { readonly flowKeys: boolean; readonly keyWords: number }): number =>
  table.flowKeys ? FLOW_KEY : table.keyWords;

/** Whether the key stored in `words[at ..]` is `key[offset ..]`; `compared` is from {@link comparedWords}. */
export function sameKey(words: Int32Array, at: number, key: Int32Array, offset: number, compared: number): boolean {
  if (compared === FLOW_KEY) return sameFlowKey(words, at, key, offset);
  for (let i = 0; i < compared; i++) if (words[at + i] !== key[offset + i]) return false;
  return true;
}

/** Words that are 0 in every IPv4 key are not read. */
function sameFlowKey(words: Int32Array, at: number, key: Int32Array, offset: number): boolean {
  const last = key[offset + 9];
  return (
    words[at + 3] === last &&
    words[at + 2] === key[offset + 8] &&
    words[at] === key[offset] &&
    words[at + 1] === key[offset + 4] &&
    ((last & IPV6) === 0 ||
      (words[at + 6] === key[offset + 3] &&
        words[at + 9] === key[offset + 7] &&
        words[at + 4] === key[offset + 1] &&
        words[at + 5] === key[offset + 2] &&
        words[at + 7] === key[offset + 5] &&
        words[at + 8] === key[offset + 6]))
  );
}

/** Store `key[offset ..]` in `words[at ..]`. */
export function storeKey(words: Int32Array, at: number, key: Int32Array, offset: number, compared: number): void {
  if (compared === FLOW_KEY)
    for (let i = 0; i < STORED_WORDS.length; i++) words[at + i] = key[offset + STORED_WORDS[i]];
  else for (let i = 0; i < compared; i++) words[at + i] = key[offset + i];
}

/** Copy the key stored in `words[at ..]` to `into[offset ..]`. */
export function readKey(words: Int32Array, at: number, into: Int32Array, offset: number, compared: number): void {
  if (compared === FLOW_KEY)
    for (let i = 0; i < STORED_WORDS.length; i++) into[offset + STORED_WORDS[i]] = words[at + i];
  else for (let i = 0; i < compared; i++) into[offset + i] = words[at + i];
}
