/**
 * Worker threads of Node.js as CPUs.
 *
 * @packageDocumentation
 */
export {};
