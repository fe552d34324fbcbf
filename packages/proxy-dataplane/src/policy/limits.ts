/*
 * The bounds of a configuration, each with its reason.
 */

/** Servers. A flow's server and the health table are small numbers; a Maglev table keeps below 1 % imbalance up to here. */
export const MAX_SERVERS = 64;
/** Groups of servers, the group of all servers not counted: a group is eight bits of a decision. */
export const MAX_GROUPS = 64;
/** Rules: rows of 4096 bits are 128 words, and 32 times 4 words of summary. */
export const MAX_RULES = 4096;
/** Conditions of one kind in one rule. */
export const MAX_CONDITIONS = 256;
/** Ports and networks of the lists beside the rules. */
export const MAX_LISTED = 1024;
/** Rules of address translation of each kind: they are tried in order for each new flow. */
export const MAX_TRANSLATIONS = 256;
export const MAX_PORT = 65535;
/** Parts a server of weight 1 has of a server of weight 256. */
export const MAX_WEIGHT = 256;
/** A domain name without its final dot (RFC 1035, 2.3.4, less the length octets at both ends). */
export const MAX_NAME_BYTES = 253;
/** Turns of a weighted round: weights are scaled down when their sum, cleared of common factors, is larger. */
export const MAX_SCHEDULE = 4096;
/** Size of a Maglev table: a prime, over 100 times {@link MAX_SERVERS} as section 3.4 of the paper asks for. */
export const DEFAULT_MAGLEV_SIZE = 8191;
export const MAX_MAGLEV_SIZE = 1_048_573;
/** Servers and groups that have ever had a count in shared memory; see `ServerStates`. */
export const MAX_SLOTS = 512;
/** Encoded bytes of a configuration: 4096 rules of average length do not fit, 1000 do. */
export const DEFAULT_CONFIG_BYTES: number = 1 << 18;

if (DEFAULT_MAGLEV_SIZE < 100 * MAX_SERVERS) throw new RangeError("a Maglev table must be 100 times the servers");
if (MAX_SLOTS < 2 * (MAX_SERVERS + MAX_GROUPS + 1)) throw new RangeError("two configurations must fit in the slots");
