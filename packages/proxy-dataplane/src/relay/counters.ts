/** What each worker counts, in the order of the words of its set. */
export const RELAY_COUNTERS = [
  "accepted",
  "closed",
  "relayed",
  "failed",
  "denied",
  "overLimit",
  "authenticationFailures",
  "handshakeTimeouts",
  "idleTimeouts",
  "halfClosedTimeouts",
  "connectFailures",
  "connectTimeouts",
  "retries",
  "resets",
  "clientBytes",
  "serverBytes",
  "dnsLookups",
  "dnsHits",
  "dnsFailures",
  "udpFlows",
  "udpDatagramsIn",
  "udpDatagramsOut",
  "udpDropped",
  "acceptErrors",
  "configurations",
  "logLines",
  "logDropped",
  "captureLost",
  "loops",
] as const;

/** A name of {@link RELAY_COUNTERS}. */
export type RelayCounter = (typeof RELAY_COUNTERS)[number];

/** Where a counter lies, without a look-up. */
export const Count = Object.fromEntries(RELAY_COUNTERS.map((name, slot) => [name, slot])) as Readonly<
  Record<RelayCounter, number>
>;
