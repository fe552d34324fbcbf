/**
 * Packets, batches, connection tracking and rewriting: the data path of a proxy.
 *
 * @packageDocumentation
 */
export {};
