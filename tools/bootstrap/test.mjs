// `npm test [-- PACKAGE… --force]`: installs what is missing, builds and tests every package (or those named), and ends with one
// line that sums all of them. Results of packages that have not changed come from turbo's cache, reports included.
import "./require-node.mjs";
import { readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { testSelection } from "./arguments.mjs";
import { workspaceFolders } from "./fingerprint.mjs";
import { closingLine, summarize } from "./summary.mjs";
import { ensureInstalled, fail, pnpm, root } from "./workspace.mjs";

ensureInstalled();

/** Folder by name of every package that has tests. */
const tested = new Map();
for (const folder of workspaceFolders(root)) {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  if (manifest.scripts?.test !== undefined) tested.set(manifest.name, folder);
}

let selection;
try {
  selection = testSelection(process.argv.slice(2), [...tested.keys()]);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}

// Old reports go first: what is counted below was made, or restored from the cache, by this run.
const folders = selection.selected.map((name) => tested.get(name));
for (const folder of folders) rmSync(join(folder, ".reports"), { recursive: true, force: true });

// Tests of real threads want a core of their own, so few packages at a time.
const concurrency = Math.max(2, Math.floor(availableParallelism() / 2));
const filters = selection.selected.length < tested.size ? selection.selected.map((name) => `--filter=${name}`) : [];
const status = pnpm(
  [
    "exec",
    "turbo",
    "run",
    "test",
    "--continue",
    `--concurrency=${concurrency}`,
    "--output-logs=new-only",
    ...filters,
    ...selection.forwarded,
  ],
  { env: { NODE_VERSION_UNDER_TEST: process.version } },
);

const total = summarize(folders);
if (status !== 0 && total.failed === 0) {
  total.failed = 1;
  total.problems.push(`turbo ended with status ${status}`);
}
for (const problem of total.problems) console.error(`failed: ${problem}`);
console.log(closingLine(total));
process.exitCode = total.failed > 0 ? 1 : 0;
