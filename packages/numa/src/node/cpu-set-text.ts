/** No kernel has more CPUs or nodes than this; larger ids are nonsense and would only cost memory. */
const ID_LIMIT = 65536;

/** The ids of a list as the kernel prints it, `0-3,8`; undefined when it is none. */
export function parseIdList(text: string): number[] | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return [];
  const ids = new Set<number>();
  for (const part of trimmed.split(",")) {
    const match = /^\s*(\d{1,7})(?:-(\d{1,7}))?\s*$/.exec(part);
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first || last >= ID_LIMIT) return undefined;
    for (let id = first; id <= last; id++) ids.add(id);
  }
  return [...ids].sort((a, b) => a - b);
}

/** The ids of a mask as the kernel prints it, hexadecimal words of 32 bits, highest first; undefined when it is none. */
export function parseIdMask(text: string): number[] | undefined {
  const words = text.trim().split(",").reverse();
  if (words.length > ID_LIMIT / 32) return undefined;
  const ids: number[] = [];
  for (const [index, word] of words.entries()) {
    if (!/^(?:0x)?[0-9a-f]{1,8}$/i.test(word.trim())) return undefined;
    const bits = Number.parseInt(word, 16);
    for (let bit = 0; bit < 32; bit++) if ((bits >>> bit) & 1) ids.push(index * 32 + bit);
  }
  return ids;
}
