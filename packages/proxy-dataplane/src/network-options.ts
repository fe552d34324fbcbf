import { DataplaneError } from "./errors.ts";

/**
 * The path that packets leave on, and what is verified of those that come.
 *
 * @public
 */
export interface NetworkOptions {
  /**
   * Longest IP packet that may leave, 576 to 65535. IPv6 has 1280 at least. Longer ones are answered with ICMP «fragmentation needed» or
   * ICMPv6 «packet too big», or fragmented. Default: no limit.
   */
  readonly mtu?: number;
  /** What becomes of a longer IPv4 packet that may be fragmented. Default `fragment`. */
  readonly tooLong?: "fragment" | "drop";
  /**
   * Lower the maximum segment size that segments with SYN announce to what the MTU takes, or to so many bytes: 64 to 65495. Default false.
   */
  readonly clampMss?: boolean | number;
  /** Count packets with a bad checksum and pass them on, or drop them. Default: not verified. */
  readonly checksums?: "count" | "drop";
  /**
   * Datagrams in fragments that each thread follows at once, so that all fragments go the way of their connection; 0 to 65536.
   * Default 256. With 0 fragments are sent on as they are.
   */
  readonly datagrams?: number;
  /**
   * Fragments that came before the first one of their datagram and may wait for it, 0 to 4096 a thread. Default 0: they are sent on as they
   * are. `Dataplane.roomFor` counts them in: they leave when the first one does.
   */
  readonly heldFragments?: number;
  /** ICMP errors and TCP resets that each CPU sends a second, on average, 0 to 1000000. Default 1000, as Linux. */
  readonly answersPerSecond?: number;
  /** And at once, 1 to 1000000. Default 50. */
  readonly answerBurst?: number;
}

/** {@link NetworkOptions} with every default filled in; part of a handle, so that all threads have the same nodes. */
export interface NetworkPath {
  /** 0: no limit. */
  readonly mtu: number;
  readonly fragments: boolean;
  /** Largest segment of IPv4 and of IPv6; 0: not clamped. */
  readonly mss: { readonly ipv4Bytes: number; readonly ipv6Bytes: number } | undefined;
  readonly checksums: "count" | "drop" | undefined;
  readonly datagrams: number;
  readonly heldFragments: number;
  readonly answersPerSecond: number;
  readonly answerBurst: number;
}

const LEAST_MTU = 576;
const IPV6_LEAST_MTU = 1280;
const MOST_BYTES = 65_535;
/** Headers without options: what a segment's size does not count (RFC 6691). */
const IPV4_HEADERS_BYTES = 40;
const IPV6_HEADERS_BYTES = 60;
const LEAST_MSS = 64;
const MOST_RATE = 1_000_000;
const MOST_DATAGRAMS = 65_536;
const MOST_HELD = 4096;
const DEFAULT_DATAGRAMS = 256;

/** Throws `DATAPLANE_INVALID_ARGUMENT`. */
export function networkPath(options: NetworkOptions = {}): NetworkPath {
  const { mtu, tooLong = "fragment", clampMss = false, checksums, answersPerSecond = 1000, answerBurst = 50 } = options;
  const { datagrams = DEFAULT_DATAGRAMS, heldFragments = 0 } = options;
  for (const name of Object.keys(options)) {
    if (!NAMES.includes(name)) throw invalid(`there is no option network.${name}`);
  }
  if (mtu !== undefined) requireRange("mtu", mtu, LEAST_MTU, MOST_BYTES);
  requireRange("datagrams", datagrams, 0, MOST_DATAGRAMS);
  requireRange("heldFragments", heldFragments, 0, MOST_HELD);
  requireRange("answersPerSecond", answersPerSecond, 0, MOST_RATE);
  requireRange("answerBurst", answerBurst, 1, MOST_RATE);
  if (tooLong !== "fragment" && tooLong !== "drop")
    throw invalid(`network.tooLong is ${String(tooLong)}; fragment or drop`);
  if (checksums !== undefined && checksums !== "count" && checksums !== "drop") {
    throw invalid(`network.checksums is ${String(checksums)}; count or drop`);
  }
  return {
    mtu: mtu ?? 0,
    fragments: tooLong === "fragment",
    mss: segmentSizes(clampMss, mtu),
    checksums,
    datagrams,
    heldFragments: datagrams === 0 ? 0 : heldFragments,
    answersPerSecond,
    answerBurst,
  };
}

const NAMES: readonly string[] = [
  "mtu",
  "tooLong",
  "clampMss",
  "checksums",
  "datagrams",
  "heldFragments",
  "answersPerSecond",
  "answerBurst",
];

function segmentSizes(clampMss: boolean | number, mtu: number | undefined): NetworkPath["mss"] {
  if (clampMss === false) return undefined;
  if (clampMss !== true) {
    requireRange("clampMss", clampMss, LEAST_MSS, MOST_BYTES - IPV4_HEADERS_BYTES);
    return { ipv4Bytes: clampMss, ipv6Bytes: clampMss };
  }
  if (mtu === undefined) throw invalid("network.clampMss is true, which needs network.mtu");
  return { ipv4Bytes: mtu - IPV4_HEADERS_BYTES, ipv6Bytes: Math.max(mtu, IPV6_LEAST_MTU) - IPV6_HEADERS_BYTES };
}

function requireRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw invalid(`network.${name} is ${String(value)}; ${least} to ${most} are possible`);
}

function invalid(message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
}
