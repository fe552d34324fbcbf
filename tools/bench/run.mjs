// `pnpm bench [--json] [--only NAME] [--quick]`: every package's benchmarks, ours and peers measured alternately.
import { fork } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { formatTable } from "./table.mjs";

const usage = `usage: pnpm bench [options]

Measures every packages/*/bench/*.bench.mjs; needs a build (pnpm build).

  --only NAME   packages or benchmark files whose name contains NAME (may be repeated)
  --json        [{ package, name, unit, ours, peers, ratio, environment }] on standard output
  --quick       one short round: shows that the benchmarks run, not how fast
  --rounds N    rounds of ours and peers alternately, the median counts (11)
  --sample MS   length of one sample in milliseconds (20)
  --root DIR    repository to measure (this one)
  --help

ratio = best peer ÷ ours for times, ours ÷ best peer for rates: above 1, ours is better.`;

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [] },
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    rounds: { type: "string", default: "11" },
    sample: { type: "string", default: "20" },
    root: { type: "string", default: join(dirname(fileURLToPath(import.meta.url)), "../..") },
    help: { type: "boolean", default: false },
  },
});
if (flags.help) {
  console.log(usage);
  process.exit(0);
}

const options = flags.quick
  ? { rounds: 1, sampleMs: 1 }
  : { rounds: Number(flags.rounds), sampleMs: Number(flags.sample) };
if (!(options.rounds >= 1) || !(options.sampleMs > 0)) {
  console.error("bench: --rounds and --sample must be positive numbers");
  process.exit(2);
}

const environment = {
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: availableParallelism(),
  node: process.version,
  v8: process.versions.v8,
  date: new Date().toISOString(),
};

const files = benchFiles(flags.root).filter(
  (file) => flags.only.length === 0 || flags.only.some((name) => file.label.includes(name)),
);
if (files.length === 0) {
  console.error(`bench: no benchmark ${flags.only.length > 0 ? `matches ${flags.only.join(", ")}` : "found"}`);
  process.exit(1);
}

const results = [];
const failures = [];
for (const file of files) {
  try {
    for (const result of await measureFile(file)) results.push({ package: file.package, ...result, environment });
  } catch (error) {
    failures.push(`${file.label}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
showProgress("");

if (flags.json) console.log(JSON.stringify(results, null, 2));
else {
  console.log(
    `${environment.cpu}, ${environment.cores} cores, Node ${environment.node}, V8 ${environment.v8}, ${environment.date}\n`,
  );
  if (flags.quick) console.log("(--quick: shows that the benchmarks run, not how fast anything is)\n");
  console.log(formatTable(results));
}
for (const failure of failures) console.error(`bench: failed: ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;

function benchFiles(root) {
  const found = [];
  for (const name of readdirSync(join(root, "packages")).sort()) {
    const folder = join(root, "packages", name);
    if (!existsSync(join(folder, "bench"))) continue;
    const { name: packageName } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    for (const file of readdirSync(join(folder, "bench")).sort()) {
      if (!file.endsWith(".bench.mjs")) continue;
      found.push({ package: packageName, folder, path: join(folder, "bench", file), label: `${packageName} ${file}` });
    }
  }
  return found;
}

/** Runs the cases of one file, each in a process of its own unless it is only to be seen that they run; rejects with what went wrong. */
async function measureFile(file) {
  if (flags.quick) return (await measureIn(file, [])).found;
  const found = [];
  for (let number = 0, count = 1; number < count; number++) {
    const measured = await measureIn(file, [String(number)]);
    found.push(...measured.found);
    count = measured.count;
  }
  return found;
}

/** Runs one process over a file: the results, and how many cases the file has. */
function measureIn(file, number) {
  return new Promise((resolve, reject) => {
    const child = fork(new URL("./worker.mjs", import.meta.url), [file.path, JSON.stringify(options), ...number], {
      cwd: file.folder,
      execArgv: ["--expose-gc"],
      stdio: ["ignore", 2, 2, "ipc"],
    });
    const found = [];
    let count = 0;
    /** @type {import("./worker.mjs").Message | undefined} */
    let outcome;
    child.on("message", (/** @type {import("./worker.mjs").Message} */ message) => {
      if (message.progress) {
        ({ count } = message.progress);
        showProgress(`${file.label} ${message.progress.index + 1}/${count} ${message.progress.name}`);
      }
      if (message.result) found.push(message.result);
      if (message.done || message.error) outcome = message;
    });
    child.on("error", reject);
    child.on("exit", (status, signal) => {
      if (outcome?.done) resolve({ found, count });
      else reject(new Error(outcome?.error ?? `the process ended with ${signal ?? `status ${status}`}`));
    });
  });
}

/** One line on standard error that is overwritten; nothing where nobody watches. */
function showProgress(text) {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
}
