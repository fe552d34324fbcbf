/** `process.hrtime` where there is one: Node.js, Deno, Bun. */
type HighResolutionTime = () => [seconds: number, nanoseconds: number];
const hrtime: HighResolutionTime | undefined = (globalThis as { process?: { hrtime?: HighResolutionTime } }).process
  ?.hrtime;
/** Readings of both clocks, of which the one with the least time between counts. */
const ATTEMPTS = 5;

/** The second in which the clock that all threads share stands now: the origin of the times they exchange. */
export function sharedClockSecond(): number {
  return Math.floor(sharedSeconds()[0]);
}

/**
 * What to add to `performance.now() * 1e6`, whose origin is each thread's own, to get nanoseconds since `originSecond` of
 * the clock that all threads share. Found once per thread, because the shared clock is slow to read: in Node.js right to
 * well under a microsecond, in browsers as right as `performance.timeOrigin`.
 */
export function sharedClockOffsetNs(originSecond: number): number {
  let bestGapNs = Infinity;
  let offsetNs = 0;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const beforeNs = performance.now() * 1e6;
    const [seconds, nanoseconds] = sharedSeconds();
    const gapNs = performance.now() * 1e6 - beforeNs;
    if (gapNs >= bestGapNs) continue;
    bestGapNs = gapNs;
    offsetNs = (seconds - originSecond) * 1e9 + nanoseconds - (beforeNs + gapNs / 2);
  }
  return offsetNs;
}

function sharedSeconds(): [seconds: number, nanoseconds: number] {
  return hrtime?.() ?? [(performance.timeOrigin + performance.now()) / 1e3, 0];
}
