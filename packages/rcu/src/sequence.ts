/*
 * A grace period sequence is an odd 32-bit integer that grows by 2 and wraps. Odd, so that it never equals OFFLINE or AWAITED.
 * Comparisons are right while two sequences are less than 2^30 grace periods apart.
 */

/** In a CPU's word: grace periods need not wait for this CPU. */
export const OFFLINE = 0;
/** In a CPU's word, flavour `memory-barrier`: in a section that the running grace period waits for; its end looks at that. */
export const AWAITED = 2;
/** The sequence before the first grace period. */
export const FIRST_SEQUENCE = 1;
const STEP = 2;

export function nextSequence(sequence: number): number {
  return (sequence + STEP) | 0;
}

/** Whether `sequence` is `other` or later. */
export function reached(sequence: number, other: number): boolean {
  return ((sequence - other) | 0) >= 0;
}

/**
 * Whether the grace period of a cookie has ended when `completed` is the latest that has. A cookie lies at most two
 * periods ahead when it is handed out (one runs, the next is meant), so anything else is a cookie of the past, however old.
 */
export function ended(cookie: number, completed: number): boolean {
  const ahead = (cookie - completed) | 0;
  return ahead <= 0 || ahead > 2 * STEP;
}

/** 0 for the state before the first grace period, then 1, 2, 3 … */
export function ordinal(sequence: number): number {
  return sequence >>> 1;
}

/** Alternates between 0 and 1 from one grace period to the next. */
export function parity(sequence: number): number {
  return (sequence >> 1) & 1;
}
