import { parseArgs } from "node:util";
import { InterleaveError } from "./errors.ts";
import { type ExploreOptions, search } from "./explore.ts";
import { formatReport } from "./report.ts";
import type { StrategyOptions } from "./strategy.ts";

const USAGE = `usage: interleave FILE[#EXPORT] [options]

Runs the scenario that the ES module FILE exports (its default export, or EXPORT) under many interleavings of its
threads. Exit status: 0 nothing found, 1 a failure was found, 2 the tool could not run it.

  --strategy exhaustive|random|pct   default exhaustive
  --preemptions N     exhaustive: at most N preemptions per schedule
  --no-reduction      exhaustive: visit equivalent interleavings too
  --executions N      random, pct: how many (default 1000)
  --seed N            random, pct: default 1
  --depth N           pct: default 3
  --schedule S        replay one schedule, as a failure prints it
  --step-limit N      an execution of more steps is a livelock (default 2000)
  --idle-limit N      so many turns without a change are a deadlock (default 100)
  --max-ms N          stop after this time
  --no-timeouts       waits with a time-out last for ever, so that lost wake-ups show
  --relax-returns     hal.relax and Atomics.pause do nothing: for code that spins a few times and then gives up
  --ignore-races      do not look for data races and freed memory; plain accesses are steps instead
  --json              print the report as JSON
`;

/** The command line; returns the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    const message = error instanceof InterleaveError ? `${error.code}: ${error.message}` : (error as Error).message;
    process.stderr.write(`interleave: ${message}\n`);
    return 2;
  }
}

async function run(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      strategy: { type: "string", default: "exhaustive" },
      preemptions: { type: "string" },
      "no-reduction": { type: "boolean", default: false },
      executions: { type: "string" },
      seed: { type: "string" },
      depth: { type: "string" },
      schedule: { type: "string" },
      "step-limit": { type: "string" },
      "idle-limit": { type: "string" },
      "max-ms": { type: "string" },
      "no-timeouts": { type: "boolean", default: false },
      "relax-returns": { type: "boolean", default: false },
      "ignore-races": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help || positionals.length !== 1) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  const [path, exportName] = positionals[0].split("#");
  const options: ExploreOptions = {
    scenario: exportName,
    strategy: strategyOf(values),
    stepLimit: count("step-limit", values["step-limit"]),
    idleLimit: count("idle-limit", values["idle-limit"]),
    maxMs: count("max-ms", values["max-ms"]),
    timeouts: values["no-timeouts"] ? "never" : "idle",
    relax: values["relax-returns"] ? "returns" : "yields",
    races: values["ignore-races"] ? "ignore" : "fail",
  };
  const report = await search(path, options);
  process.stdout.write(`${values.json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`);
  return report.failure === undefined ? 0 : 1;
}

interface StrategyFlags {
  readonly strategy: string;
  readonly preemptions?: string;
  readonly "no-reduction": boolean;
  readonly executions?: string;
  readonly seed?: string;
  readonly depth?: string;
  readonly schedule?: string;
}

function strategyOf(flags: StrategyFlags): StrategyOptions {
  if (flags.schedule !== undefined) return { kind: "replay", schedule: flags.schedule };
  const seed = count("seed", flags.seed);
  const executions = count("executions", flags.executions);
  switch (flags.strategy) {
    case "exhaustive":
      return {
        kind: "exhaustive",
        preemptionBound: count("preemptions", flags.preemptions),
        reduction: flags["no-reduction"] ? "none" : "dpor",
      };
    case "random":
      return { kind: "random", seed, executions };
    case "pct":
      return { kind: "pct", seed, executions, depth: count("depth", flags.depth) };
    default:
      throw new InterleaveError("INTERLEAVE_INVALID_ARGUMENT", `there is no strategy "${flags.strategy}"`);
  }
}

function count(flag: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d+$/.test(value)) {
    throw new InterleaveError("INTERLEAVE_INVALID_ARGUMENT", `--${flag} needs a number, not "${value}"`);
  }
  return Number(value);
}
