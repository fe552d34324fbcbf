import type { ApicMode } from "./apic-mode.ts";
import { EVERYBODY, type ApicMessage } from "./bus.ts";

/** Model of logical ids in the destination format register: bits 28 to 31. */
const FLAT = 0xf;
/** In the cluster model this cluster means all of them. */
const ALL_CLUSTERS = 0xf;

const SHORTHAND_SELF = 1;

/**
 * Whether `message` from the APIC with id `from` (-1: a device) is for the APIC with these registers.
 *
 * @param logicalId - its logical destination register. @param format - its destination format register.
 */
export function isAddressed(
  message: ApicMessage,
  from: number,
  apicId: number,
  mode: ApicMode,
  logicalId: number,
  format: number,
): boolean {
  if (mode === "disabled") return false;
  switch (message.shorthand) {
    case SHORTHAND_SELF:
      return from === apicId;
    case 2:
      return true;
    case 3:
      return from !== apicId;
    default:
      return isNamed(message, apicId, mode === "x2apic", logicalId, format);
  }
}

/**
 * Whether the destination of `message` names the APIC with these registers.
 *
 * @param logicalId - its logical destination register. @param format - its destination format register.
 */
function isNamed(message: ApicMessage, apicId: number, x2apic: boolean, logicalId: number, format: number): boolean {
  const { destination } = message;
  if (!message.logical) return isPhysicalId(destination, apicId, x2apic);
  return x2apic
    ? isLogicalX2Apic(destination, logicalId)
    : isLogicalXapic(destination, logicalId >>> 24, format >>> 28);
}

/** Intel SDM volume 3A, sections 10.6.2.1 and 10.12.10: in xAPIC mode ids have eight bits. */
function isPhysicalId(destination: number, apicId: number, x2apic: boolean): boolean {
  return destination === EVERYBODY || destination === (x2apic ? apicId : apicId & 0xff);
}

/** Section 10.6.2.2. `ids`: the logical id of eight bits. */
function isLogicalXapic(destination: number, ids: number, model: number): boolean {
  if (destination === EVERYBODY) return true;
  if (model === FLAT) return (destination & ids & 0xff) !== 0;
  const cluster = (destination >>> 4) & 0xf;
  return (cluster === ids >>> 4 || cluster === ALL_CLUSTERS) && (destination & ids & 0xf) !== 0;
}

/** Section 10.12.10.1: the cluster in the high half, its members in the low. */
function isLogicalX2Apic(destination: number, own: number): boolean {
  if (destination === EVERYBODY) return true;
  return destination >>> 16 === own >>> 16 && (destination & own & 0xffff) !== 0;
}

/**
 * The logical id that an APIC has in x2APIC mode by its id: clusters of 16 (Intel SDM volume 3A, section 10.12.10.2).
 *
 * @public
 */
export function logicalX2ApicId(apicId: number): number {
  return (((apicId >>> 4) << 16) | (1 << (apicId & 15))) >>> 0;
}
