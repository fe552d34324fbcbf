import { wideDestination } from "./command.ts";
import type { MutableApicMessage } from "./bus.ts";
import { DELIVERY_MODES, type ApicDeliveryMode } from "./registers.ts";

/*
 * Message-signalled interrupts: a device writes `data` to `address` (Intel SDM volume 3A, section 10.11).
 *
 *   address  31 ── 0xfee ── 20 │ 19 ── destination ── 12 │ 11 ── destination, bits 8 to 14 ── 5 │ 4 │ RH 3 │ logical 2 │ 1 0
 *   data     trigger 15 │ assert 14 │ 13 ─ 11 │ 10 ── mode ── 8 │ 7 ── vector ── 0
 *
 * Bits 5 to 11 are reserved in the manual. Hypervisors take them as seven more bits of the destination ("extended destination
 * ID"), so that devices reach APIC ids up to 32767 without interrupt remapping.
 */
const PREFIX = 0xfee;
const REDIRECT = 1 << 3;
const LOGICAL = 1 << 2;
const LEVEL = 1 << 15;
const ASSERT = 1 << 14;
const EXTENDED = 0x7f;

/**
 * The address that a device writes to for an interrupt of these APICs.
 *
 * @param target - `destination`: an APIC id, or with `logical` a set of logical ids, up to 255, or with extended
 * destinations 32767; `redirect`: the one of them with the lowest priority.
 *
 * @public
 */
export function msiAddress(target: {
  readonly destination: number;
  readonly logical?: boolean;
  readonly redirect?: boolean;
}): number {
  const { destination, logical = false, redirect = false } = target;
  const ids = ((destination & 0xff) << 12) | (((destination >>> 8) & EXTENDED) << 5);
  return ((PREFIX << 20) | ids | (redirect ? REDIRECT : 0) | (logical ? LOGICAL : 0)) >>> 0;
}

/**
 * What a device writes for an interrupt.
 *
 * @param interrupt - `mode` defaults to fixed. `level`: level-triggered, asserted.
 *
 * @public
 */
export function msiData(interrupt: {
  readonly vector: number;
  readonly mode?: ApicDeliveryMode;
  readonly level?: boolean;
}): number {
  const { vector, mode = "fixed", level = false } = interrupt;
  return (vector & 0xff) | (DELIVERY_MODES.indexOf(mode) << 8) | (level ? LEVEL | ASSERT : 0);
}

/** The message of a device's write; false: it is no interrupt, or one that is de-asserted. */
export function fillFromMsi(message: MutableApicMessage, address: number, data: number, extended: boolean): boolean {
  const mode = DELIVERY_MODES[(data >>> 8) & 7];
  if (address >>> 20 !== PREFIX || mode === undefined || mode === "startup") return false;
  const level = (data & LEVEL) !== 0;
  if (level && (data & ASSERT) === 0) return false;
  message.logical = (address & LOGICAL) !== 0;
  message.mode = mode === "fixed" && message.logical && (address & REDIRECT) !== 0 ? "lowest-priority" : mode;
  message.vector = data & 0xff;
  message.destination = deviceDestination((address >>> 12) & 0xff, extended ? (address >>> 5) & EXTENDED : 0);
  message.shorthand = 0;
  message.levelTriggered = level;
  return true;
}

/** A device's destination of eight bits and, above them, seven. */
export function deviceDestination(low: number, high: number): number {
  return high === 0 ? wideDestination(low) : (high << 8) | low;
}
