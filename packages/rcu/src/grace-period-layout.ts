import { PADDING_BYTES } from "@x/smp";

/*
 * Shared memory, in padded lines:
 *
 *   line 0    CURRENT     sequence of the grace period that runs or ran last     written by the holder of LOCK
 *             COMPLETED   sequence of the last one that ended                    written by the holder of LOCK
 *             ERA         how often CURRENT has wrapped                          written by the holder of LOCK, before CURRENT
 *   line 1    LOCK        0 free, else owner CPU + 1, and CONTENDED              compare-exchange
 *             CURSOR      CPUs below it have passed the running grace period     written by the holder of LOCK
 *             WANTED      latest sequence somebody waits for                     compare-exchange
 *             STARTED     when the running one began, units of 1024 ns, wraps    written by the holder of LOCK
 *             STALLS_TOLD stall reports of the running grace period              compare-exchange
 *             WAITERS     threads asleep on COMPLETED                            add, sub
 *             STALLS      stall reports ever                                     add
 *             EVENTS      beginnings and ends of grace periods, counted          add
 *             LISTENERS   event loops that wait for a change of EVENTS           add, sub
 *             EXPEDITED   CPUs that were asked to hurry                          add
 *   line 2    doubles: start of the running grace period, longest one, sum of all, ns   written by the holder of LOCK
 *   line 3+c  SEEN        CPU c: OFFLINE, or the latest sequence it has announced a quiescent state for; flavour
 *                         `memory-barrier`: AWAITED, from the holder of LOCK, in place of a sequence that lags
 *             QUEUED      callbacks CPU c has queued                             all three written by CPU c only
 *             INVOKED     callbacks CPU c has run or given up
 *             SECTIONS    two words: sections open on CPU c that began under an even, an odd sequence     add, sub
 *
 * A grace period may end when every SEEN is OFFLINE or equals CURRENT. CURRENT and COMPLETED differ while one runs.
 * Flavour `sleepable` has SECTIONS in place of SEEN: a grace period may end when every CPU has been found without sections of the
 * other parity than CURRENT's.
 *
 * Why this is enough. All of these words are accessed by Atomics only, hence in one total order. An updater unpublishes
 * before it reads CURRENT in `request`, so the grace period it waits for starts later. A CPU that announces has loaded
 * CURRENT after that start, so whatever it reads from then on is after the unpublishing; and what it read before is
 * before its store to SEEN, which the ender loads before it stores COMPLETED. A CPU that is seen OFFLINE stores SEEN later
 * than the ender's load, so its next pointer load (by Atomics) finds the new pointer.
 *
 * Why two counters are enough. A section counts itself under the parity of CURRENT and looks at CURRENT again; if that has
 * changed, it takes its count back and tries anew. So a section under way counts under the parity of a sequence s that was
 * CURRENT after it was counted. The grace period after s finds it there; later ones need not look, because that one did not end
 * before. New sections count under the other parity, so they cannot hold it up.
 *
 * Progress. The CPU whose announcement is the last in the total order finds nobody else lagging. It either gets LOCK and
 * ends the grace period, or marks LOCK contended, and then the owner looks again before it leaves. In flavour `memory-barrier`
 * who looks marks the section it found lagging as AWAITED, by compare-exchange, before it goes; so the end of that section, which
 * exchanges the word, looks in its place. Who enters with a sequence that turns out to be old corrects it, and looks as well,
 * because it may have hidden for a moment that nobody lags.
 */
export const STRIDE_WORDS: number = PADDING_BYTES / 4;
export const CURRENT: number = 0;
export const COMPLETED: number = 1;
export const ERA: number = 2;
export const LOCK: number = 1 * STRIDE_WORDS;
export const CURSOR: number = STRIDE_WORDS + 1;
export const WANTED: number = STRIDE_WORDS + 2;
export const STARTED: number = STRIDE_WORDS + 3;
export const STALLS_TOLD: number = STRIDE_WORDS + 4;
export const WAITERS: number = STRIDE_WORDS + 5;
export const STALLS: number = STRIDE_WORDS + 6;
export const EVENTS: number = STRIDE_WORDS + 7;
export const LISTENERS: number = STRIDE_WORDS + 8;
export const EXPEDITED: number = STRIDE_WORDS + 9;
export const START_DOUBLE: number = (2 * PADDING_BYTES) / 8;
export const LONGEST_DOUBLE: number = START_DOUBLE + 1;
export const TOTAL_DOUBLE: number = START_DOUBLE + 2;
export const FIRST_CPU: number = 3 * STRIDE_WORDS;
export const QUEUED: number = 1;
export const INVOKED: number = 2;
export const SECTIONS: number = 3;

/** Bytes of shared memory for so many CPUs. */
export function gracePeriodBytes(possibleCpus: number): number {
  return (3 + possibleCpus) * PADDING_BYTES;
}
