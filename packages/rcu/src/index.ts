/**
 * Read-copy-update for JavaScript threads: grace periods, callbacks and RCU-protected cells.
 *
 * @packageDocumentation
 */
export {};
