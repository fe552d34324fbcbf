// Times functions against each other: alternately, in rounds, with the median as the figure.

/** Each function gets a loop of its own, so that one's types and inlining do not disturb another's. `$.result` keeps every result alive. */
// oxlint-disable-next-line no-implied-eval -- the text is a constant
const makeLoop = new Function("$", "fn", "return function loop(n) { for (let i = 0; i < n; i++) $.result = fn(); };");
const AsyncFunction = /** @type {FunctionConstructor} */ ((async () => {}).constructor);
const makeAsyncLoop = new AsyncFunction(
  "$",
  "fn",
  "return async function loop(n) { for (let i = 0; i < n; i++) $.result = await fn(); };",
);

/** Keeps results alive: an object that escapes into generated code, so no engine may drop the stores. */
const $ = { result: undefined };

/**
 * Nanoseconds of one call of each function, by name.
 *
 * Every function is warmed up until one sample takes `sampleMs`; then `rounds` rounds sample each function once, in an order that turns by
 * one each round, so that drift of the host's clock frequency and garbage of one do not always hit the same. The median of the rounds counts.
 */
export async function measureAlternately(functions, { rounds, sampleMs }) {
  const subjects = [];
  for (const [name, fn] of Object.entries(functions)) {
    if (typeof fn !== "function") throw new Error(`«${name}» is no function`);
    const first = fn();
    const isAsync = typeof first?.then === "function";
    if (isAsync) await first;
    const loop = isAsync ? await makeAsyncLoop($, fn) : makeLoop($, fn);
    subjects.push({ name, loop, calls: await calibrate(loop, sampleMs), samples: [] });
  }
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < subjects.length; i++) {
      const subject = subjects[(i + round) % subjects.length];
      subject.samples.push((await sample(subject.loop, subject.calls)) / subject.calls);
    }
  }
  return Object.fromEntries(subjects.map(({ name, samples }) => [name, median(samples)]));
}

/** Number of calls that take about `sampleMs`, found by doubling, which is the warm-up at the same time. */
async function calibrate(loop, sampleMs) {
  const target = sampleMs * 1e6;
  for (let calls = 1; ;) {
    const elapsed = await sample(loop, calls);
    if (elapsed >= target || calls >= 2 ** 30) return calls;
    const wanted = elapsed > 0 ? (calls * target * 1.1) / elapsed : Infinity;
    calls = Math.ceil(Math.min(Math.max(wanted, calls + 1), calls * 8));
  }
}

async function sample(loop, calls) {
  globalThis.gc?.({ type: "minor" });
  const start = process.hrtime.bigint();
  const pending = loop(calls);
  if (pending !== undefined) await pending;
  return Number(process.hrtime.bigint() - start);
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
