/*
 * Interrupt vectors, where Linux has them (arch/x86/include/asm/irq_vectors.h).
 */

/** Of the ISA bus's interrupt 0; the other 15 follow. */
export const FIRST_ISA_VECTOR = 0x30;
/** First vector for devices; each receive queue of a CPU has one of its own. */
export const FIRST_DEVICE_VECTOR = 0x41;
/** The local APIC's timer. */
export const LOCAL_TIMER_VECTOR = 0xec;
/** Look at the IPI mailbox. */
export const CALL_FUNCTION_VECTOR = 0xfb;
/** The local APIC has noted an error. */
export const ERROR_VECTOR = 0xfe;
/** What the local APIC raises when an interrupt vanished. */
export const SPURIOUS_VECTOR = 0xff;
/** Page at which an application processor starts, as the start-up message names it: 0x9a × 4 KiB. */
export const TRAMPOLINE_VECTOR = 0x9a;
