import type { Capture } from "@x/proxy-dataplane";

/** Link speed that bounds how close two packets can follow each other: 25 Gbit/s, and 20 bytes of preamble and gap each. */
const NS_PER_BYTE = 8 / 25;
const FRAME_OVERHEAD_BYTES = 20;
/** Gaps above this percentile of the capture's gaps are idle time, not traffic; they are cut to it. */
const LONGEST_GAP_PERCENTILE = 0.9;

/**
 * When each packet of a capture arrives, nanoseconds from the start of a round, and how long a round is: the capture's own
 * gaps, idle time cut, scaled to a mean rate, never faster than the link.
 */
export function scheduleArrivals(
  capture: Capture,
  packetsPerSecond: number,
): { arrivalNs: Float64Array; roundNs: number } {
  const { count, timestampsNs, wireLengths } = capture;
  const gaps = Float64Array.from({ length: count }, (_, at) =>
    at === 0 ? 0 : Math.max(0, timestampsNs[at] - timestampsNs[at - 1]),
  );
  const longest = Float64Array.from(gaps).sort()[Math.floor((count - 1) * LONGEST_GAP_PERCENTILE)];
  const total = gaps.reduce((sum, gap) => sum + Math.min(gap, longest), 0);
  const wantedNs = (count / packetsPerSecond) * 1e9;
  const scale = total === 0 ? 0 : wantedNs / total;
  const arrivalNs = new Float64Array(count);
  let timeNs = 0;
  for (let at = 0; at < count; at++) {
    const wireNs = at === 0 ? 0 : (wireLengths[at - 1] + FRAME_OVERHEAD_BYTES) * NS_PER_BYTE;
    const gapNs = total === 0 ? wantedNs / count : Math.min(gaps[at], longest) * scale;
    timeNs += at === 0 ? 0 : Math.max(wireNs, gapNs);
    arrivalNs[at] = timeNs;
  }
  return { arrivalNs, roundNs: Math.max(wantedNs, timeNs + wantedNs / count) };
}
