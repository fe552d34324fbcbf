import { Word } from "./board.ts";
import type { Execution } from "./execution.ts";
import type { Finding } from "./failure.ts";
import { Flag, Operation, operationName } from "./operation.ts";
import type { RawTraceLine } from "./recorder.ts";
import type { Failure, TraceLine } from "./report.ts";
import { threadName } from "./schedule.ts";

/** The trace of an execution that ran with tracing on. */
export function readTrace(execution: Execution): TraceLine[] {
  const details = readDetails(execution);
  const lines: TraceLine[] = [];
  const end = endOfInterest(execution);
  for (let entry = 0; entry < end; entry++) {
    const operation = execution.operation(entry);
    if (operation === Operation.Depends) continue;
    const raw = details.get(entry);
    const name = operationName(operation);
    const detail = raw?.detail ?? "";
    const shown = operation === Operation.Start ? name : describe(operation, name, detail);
    lines.push({
      step: execution.log(entry, 3) + 1,
      thread: execution.thread(entry),
      operation: shown,
      where: raw?.where ?? "",
    });
  }
  return lines;
}

/** Plain accesses say so, because they are what races. */
function describe(operation: number, name: string, detail: string): string {
  if (operation === Operation.Read || operation === Operation.Write) return `plain ${detail}`;
  const selfTold = operation === Operation.Load || operation === Operation.Store || operation === Operation.Update;
  if (selfTold || operation === Operation.Wait || operation === Operation.Notify) return detail;
  return `${name} ${detail}`.trimEnd();
}

function readDetails(execution: Execution): Map<number, RawTraceLine> {
  const details = new Map<number, RawTraceLine>();
  const text = execution.board.readText(0, execution.board.words[Word.TextLength]);
  for (const line of text.split("\n")) {
    const start = line.lastIndexOf('{"entry"');
    if (start < 0) continue;
    const raw = parseLine(line.slice(start));
    if (raw !== undefined) details.set(raw.entry, raw);
  }
  return details;
}

function parseLine(line: string): RawTraceLine | undefined {
  try {
    return JSON.parse(line) as RawTraceLine;
  } catch {
    // The text area was full in the middle of this line.
    return undefined;
  }
}

/** Where threads that spin for ever begin to repeat themselves: the first idle turn after the last change. */
function endOfInterest(execution: Execution): number {
  let end = execution.logLength;
  for (let entry = execution.logLength - 1; entry >= 0; entry--) {
    const flags = execution.flags(entry);
    if ((flags & Flag.Changed) !== 0) break;
    if ((flags & Flag.Idle) !== 0) end = entry;
  }
  return end;
}

/** Everything about a failure, as data and as text. */
export function formatFailure(parts: {
  readonly scenario: string;
  readonly finding: Finding;
  readonly schedule: string;
  readonly preemptions: number;
  readonly trace: readonly TraceLine[];
  readonly replayCommand: string;
}): Failure {
  const { scenario, finding, schedule, preemptions, trace } = parts;
  const replay = `${parts.replayCommand} --schedule ${schedule}`;
  const width = Math.min(Math.max(...trace.map((line) => line.operation.length), 9), 64);
  const rows = trace.map(({ step, thread, operation, where }) =>
    `  ${String(step).padStart(4)}  ${threadName(thread)}  ${operation.padEnd(width)}  ${where}`.trimEnd(),
  );
  const text = [
    `${scenario}: ${finding.kind}: ${finding.message}`,
    `  schedule  ${schedule}  (${preemptions} preemptions)`,
    `  replay    ${replay}`,
    "",
    `  step  by ${"operation".padEnd(width)}  source`,
    ...rows,
  ].join("\n");
  return { kind: finding.kind, message: finding.message, schedule, preemptions, trace, replay, text };
}
