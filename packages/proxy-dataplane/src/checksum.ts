/** Folds carries until 16 bits are left. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/**
 * One's complement sum of the 16-bit words of `bytes[from, to)`, added to `initial`; an odd last byte is padded with 0
 * (RFC 1071 section 4.1). Not folded.
 */
export function sumWords(bytes: Uint8Array, from: number, to: number, initial: number): number {
  let sum = initial;
  const even = from + ((to - from) & ~1);
  for (let at = from; at < even; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  return even < to ? sum + (bytes[even] << 8) : sum;
}

/**
 * The Internet checksum of RFC 1071 over `bytes[from, to)`: the complement of the one's complement sum of its
 * big-endian 16-bit words. `initial` is a sum to start from, such as a pseudo-header's.
 *
 * Thread-safety: pure. Cost: one addition for two bytes.
 *
 * @public
 */
export function internetChecksum(
  bytes: Uint8Array,
  from: number = 0,
  to: number = bytes.length,
  initial: number = 0,
): number {
  return ~fold(sumWords(bytes, from, to, initial)) & 0xffff;
}

/**
 * The checksum after one 16-bit word that it covers changed: equation 3 of RFC 1624, `HC' = ~(~HC + ~m + m')`.
 *
 * @param checksum - before the change, 0 to 65535
 * @param oldWord - the word before, `newWord` after
 *
 * @public
 */
export function checksumUpdate(checksum: number, oldWord: number, newWord: number): number {
  let sum = (~checksum & 0xffff) + (~oldWord & 0xffff) + (newWord & 0xffff);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~(sum + (sum >>> 16)) & 0xffff;
}
