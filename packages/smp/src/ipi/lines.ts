/*
 * The two padded lines of a CPU, of 128 bytes (`PADDING_BYTES`), before the slots; numbers of words.
 *
 *   line 0   head      the newest slot sent to the CPU, and its flags                any CPU, Atomics
 *            refused   what could not be sent to it                                  any CPU, Atomics.add
 *            favourite the slot it looks at besides, for an express call; 0: none    its owner, Atomics.store
 *   line 1   cursor    where to look for a free slot                                 its owner, plain, all of line 1
 *            inbox     oldest slot taken and not handled
 *            kept, keptLast   slots taken that nobody here handles, oldest and newest
 *            flags     flags taken and not handled
 *            life      how often the CPU has come online
 *            halted    1: it was told to halt
 *            spare     a slot whose call is over and done with, to be used next; others see a call that is over
 *            express   slot of the express call it has made last; 0: that is over
 *            expressTarget   1 + the CPU that seems to have the spare slot as its favourite
 *            running, runningState   slot of the express call it runs, and the state that was found in
 *            lastCall  slot of the call that came last by the head
 */
export const CPU_WORDS = 64;
export const HEAD = 0;
export const REFUSED = 1;
export const FAVOURITE = 2;
export const CURSOR = 32;
export const INBOX = 33;
export const KEPT = 34;
export const KEPT_LAST = 35;
export const FLAGS = 36;
export const LIFE = 37;
export const HALTED = 38;
export const SPARE = 39;
export const EXPRESS = 40;
export const EXPRESS_TARGET = 41;
export const RUNNING = 42;
export const RUNNING_STATE = 43;
export const LAST_CALL = 44;
