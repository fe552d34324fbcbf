import { EVERYBODY, XAPIC_EVERYBODY, type MutableApicMessage } from "./bus.ts";
import {
  DELIVERY_MODES,
  ICR_ASSERT,
  ICR_LEVEL,
  ICR_LOGICAL,
  ICR_SHORTHAND_SHIFT,
  type ApicShorthand,
} from "./registers.ts";

/**
 * The message of an interrupt command (Intel SDM volume 3A, sections 10.6.1 and 10.12.9); false: nothing is sent. That is so for
 * reserved delivery modes, for external interrupts, which no processor sends, and for an INIT that is de-asserted, which only
 * set the arbitration ids of processors before the Pentium 4.
 */
export function fillFromCommand(message: MutableApicMessage, low: number, high: number, x2apic: boolean): boolean {
  const mode = DELIVERY_MODES[(low >>> 8) & 7];
  if (mode === undefined || mode === "ext-int") return false;
  if (mode === "init" && (low & (ICR_ASSERT | ICR_LEVEL)) === ICR_LEVEL) return false;
  message.mode = mode;
  message.vector = low & 0xff;
  message.destination = x2apic ? high : wideDestination(high >>> 24);
  message.shorthand = ((low >>> ICR_SHORTHAND_SHIFT) & 3) as ApicShorthand;
  message.logical = (low & ICR_LOGICAL) !== 0;
  message.levelTriggered = (low & ICR_LEVEL) !== 0;
  return true;
}

/** A destination of eight bits among those of 32. */
export function wideDestination(destination: number): number {
  return destination === XAPIC_EVERYBODY ? EVERYBODY : destination;
}
