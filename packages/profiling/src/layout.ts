import { PADDING_BYTES } from "@x/smp";

/** Words of one CPU's block that shares no line with its neighbour's. */
export function paddedWords(words: number): number {
  return Math.ceil((words * 4) / PADDING_BYTES) * (PADDING_BYTES / 4);
}
