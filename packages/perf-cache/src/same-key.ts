import { FLOW_KEY_IPV6 } from "./flow-key.ts";

// A constant of the module that uses it is part of the code; see flow-reader.ts.
const IPV6 = FLOW_KEY_IPV6;

/** How many words to compare, for {@link sameKey}: FLOW_KEY in a table of flow keys. */
const FLOW_KEY = 0;
export const comparedWords = (table: { readonly flowKeys: boolean; readonly keyWords: number }): number =>
  table.flowKeys ? FLOW_KEY : table.keyWords;

/** Whether `words[at ..]` and `key[offset ..]` are the same key; `compared` is from {@link comparedWords}. */
export function sameKey(words: Int32Array, at: number, key: Int32Array, offset: number, compared: number): boolean {
  if (compared === FLOW_KEY) return sameFlowKey(words, at, key, offset);
  for (let i = 0; i < compared; i++) if (words[at + i] !== key[offset + i]) return false;
  return true;
}

/** Words that are 0 in every IPv4 key are not read. */
function sameFlowKey(words: Int32Array, at: number, key: Int32Array, offset: number): boolean {
  const last = key[offset + 9];
  return (
    words[at + 9] === last &&
    words[at + 8] === key[offset + 8] &&
    words[at] === key[offset] &&
    words[at + 4] === key[offset + 4] &&
    ((last & IPV6) === 0 ||
      (words[at + 3] === key[offset + 3] &&
        words[at + 7] === key[offset + 7] &&
        words[at + 1] === key[offset + 1] &&
        words[at + 2] === key[offset + 2] &&
        words[at + 5] === key[offset + 5] &&
        words[at + 6] === key[offset + 6]))
  );
}
