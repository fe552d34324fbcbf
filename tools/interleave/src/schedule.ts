import { MAX_THREADS } from "./board.ts";
import { InterleaveError } from "./errors.ts";

/** Name of a thread in schedules and traces: A, B, C … */
export function threadName(thread: number): string {
  return String.fromCharCode(65 + thread);
}

/**
 * A schedule as text: `A4B3A` is four steps of thread A, three of B, one of A. After its last step the running thread
 * goes on as long as it can.
 */
export function formatSchedule(threads: readonly number[]): string {
  let text = "";
  for (let start = 0; start < threads.length;) {
    let end = start;
    while (end < threads.length && threads[end] === threads[start]) end++;
    text += threadName(threads[start]) + (end - start > 1 ? String(end - start) : "");
    start = end;
  }
  return text === "" ? "-" : text;
}

/** The inverse of {@link formatSchedule}. */
export function parseSchedule(text: string): number[] {
  if (text === "-") return [];
  if (!/^([A-H]\d*)+$/.test(text)) {
    throw new InterleaveError("INTERLEAVE_INVALID_SCHEDULE", `"${text}" is no schedule; one looks like A4B3A`);
  }
  const threads: number[] = [];
  for (const [, name, count] of text.matchAll(/([A-H])(\d*)/g)) {
    const thread = name.charCodeAt(0) - 65;
    if (thread >= MAX_THREADS) throw new InterleaveError("INTERLEAVE_INVALID_SCHEDULE", `there is no thread ${name}`);
    for (let step = 0; step < Number(count || "1"); step++) threads.push(thread);
  }
  return threads;
}

/** How often a schedule goes from one thread to another. */
export function countSwitches(threads: readonly number[]): number {
  let switches = 0;
  for (let step = 1; step < threads.length; step++) if (threads[step] !== threads[step - 1]) switches++;
  return switches;
}
