/**
 * Object caches in shared memory with per-CPU magazines and no lock on the fast path.
 *
 * @packageDocumentation
 */
export {};
