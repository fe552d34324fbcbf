/**
 * Flow hashes, a shared flow table and per-CPU connection caches.
 *
 * @packageDocumentation
 */
export {};
