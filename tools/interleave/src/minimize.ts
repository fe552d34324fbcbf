import { countSwitches } from "./schedule.ts";

/** A schedule that fails, as it ran. */
export interface Attempt {
  readonly schedule: readonly number[];
  readonly preemptions: number;
}

/** Runs `prefix` and then no preemption; the whole schedule if it fails in the same way. */
export type TryPrefix = (prefix: readonly number[]) => Promise<Attempt | undefined>;

const MAX_ATTEMPTS = 3000;
/** Executions up to the step limit are slow: what was found by then is good enough. */
const MAX_MS = 5000;

/**
 * A shorter schedule that fails in the same way: fewer switches, then a shorter prefix (what follows the prefix is
 * «go on as long as possible»). Greedy: joins blocks of one thread as long as that helps.
 */
export async function minimize(found: Attempt, tryPrefix: TryPrefix): Promise<{ prefix: number[]; attempt: Attempt }> {
  let attempts = 0;
  const end = Date.now() + MAX_MS;
  let best = found;
  const attempt = async (prefix: readonly number[]): Promise<Attempt | undefined> =>
    attempts++ < MAX_ATTEMPTS && Date.now() < end ? tryPrefix(prefix) : undefined;
  for (let improved = true; improved;) {
    improved = false;
    for (const candidate of candidates(best.schedule)) {
      const result = await attempt(candidate);
      if (result === undefined || !isSimpler(result, best)) continue;
      best = result;
      improved = true;
      break;
    }
  }
  for (let length = 0; length < best.schedule.length; length++) {
    const prefix = best.schedule.slice(0, length);
    const result = await attempt(prefix);
    if (result !== undefined && !isSimpler(best, result)) return { prefix, attempt: result };
  }
  return { prefix: best.schedule.slice(), attempt: best };
}

function isSimpler(left: Attempt, right: Attempt): boolean {
  const key = (attempt: Attempt): number[] => [
    attempt.preemptions,
    countSwitches(attempt.schedule),
    attempt.schedule.length,
  ];
  const [a, b] = [key(left), key(right)];
  const at = a.findIndex((value, index) => value !== b[index]);
  return at >= 0 && a[at] < b[at];
}

/** Schedules with a block moved to the block of the same thread before or after it, or with the end cut off. */
function* candidates(schedule: readonly number[]): Generator<number[]> {
  const blocks: { thread: number; count: number }[] = [];
  for (const thread of schedule) {
    const last = blocks.at(-1);
    if (last !== undefined && last.thread === thread) last.count++;
    else blocks.push({ thread, count: 1 });
  }
  const flat = (list: typeof blocks): number[] =>
    list.flatMap(({ thread, count }) => Array.from({ length: count }, () => thread));
  for (let index = 0; index < blocks.length; index++) yield flat(blocks.slice(0, index));
  for (let index = 0; index < blocks.length; index++) {
    const block = blocks[index];
    const rest = blocks.map((each) => ({ ...each }));
    const next = rest.findIndex((each, at) => at > index && each.thread === block.thread);
    if (next >= 0) {
      const later = rest.map((each, at) => (at === next ? { ...each, count: each.count + block.count } : each));
      yield flat(later.filter((_, at) => at !== index));
      const earlier = rest.map((each, at) => (at === index ? { ...each, count: each.count + rest[next].count } : each));
      yield flat(earlier.filter((_, at) => at !== next));
    }
  }
}
