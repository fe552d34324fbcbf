/**
 * The emulated machine.
 *
 * @packageDocumentation
 */
export {};
