/*
 * Changes to headers that keep track of what they do to a checksum: each function stores a value and returns what the change adds
 * to a sum of `~m + m'` over 16-bit words (RFC 1624, equation 3). Sums of several changes add up; `adjustChecksum` applies one.
 * All offsets are even in what the checksum covers, except of `replaceHalf`, which is told.
 */

/** Stores a word where it differs. */
export function replaceWord(bytes: Uint8Array, at: number, from: number, to: number): number {
  if (from === to) return 0;
  bytes[at] = to >>> 24;
  bytes[at + 1] = to >>> 16;
  bytes[at + 2] = to >>> 8;
  bytes[at + 3] = to;
  return (~from >>> 16) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff);
}

/** Stores two bytes, which lie at an odd place of what the checksum covers if `isOdd`: then each counts in the other half. */
export function replaceHalf(bytes: Uint8Array, at: number, to: number, isOdd = false): number {
  const from = (bytes[at] << 8) | bytes[at + 1];
  if (from === to) return 0;
  bytes[at] = to >>> 8;
  bytes[at + 1] = to;
  const change = (~from & 0xffff) + to;
  if (!isOdd) return change;
  const folded = (change & 0xffff) + (change >>> 16);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}

/** Applies a sum of changes to the checksum at `at`. Returns what that in turn adds to a sum that covers the checksum. */
export function adjustChecksum(bytes: Uint8Array, at: number, change: number): number {
  const before = (bytes[at] << 8) | bytes[at + 1];
  let sum = (~before & 0xffff) + (change & 0xffff) + (change >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = ~(sum + (sum >>> 16)) & 0xffff;
  bytes[at] = sum >>> 8;
  bytes[at + 1] = sum;
  return (~before & 0xffff) + sum;
}

/**
 * {@link adjustChecksum} of UDP: no checksum (0) stays none, over IPv6 too, where tunnels may send it (RFC 6936), and one that
 * becomes 0 is sent as its other form, all ones (RFC 768).
 */
export function adjustUdpChecksum(bytes: Uint8Array, at: number, change: number): number {
  if (bytes[at] === 0 && bytes[at + 1] === 0) return 0;
  const before = (bytes[at] << 8) | bytes[at + 1];
  adjustChecksum(bytes, at, change);
  if (bytes[at] === 0 && bytes[at + 1] === 0) bytes[at] = bytes[at + 1] = 0xff;
  return (~before & 0xffff) + ((bytes[at] << 8) | bytes[at + 1]);
}
