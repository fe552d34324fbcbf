// The examples of README files: their ```js fences, run as they are.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { publicPackages } from "./workspace.mjs";

/**
 * The ```js fences of a Markdown text, with the line each begins at.
 *
 * @param {string} text
 * @returns {{ line: number, code: string }[]}
 */
export function jsFences(text) {
  const found = [];
  /** @type {{ line: number, lines: string[], isJs: boolean } | undefined} */
  let open;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^```\s*(\S*)/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === undefined) open = { line: index + 1, lines: [], isJs: fence[1] === "js" };
    else {
      if (open.isJs) found.push({ line: open.line, code: open.lines.join("\n") });
      open = undefined;
    }
  }
  return found;
}

/**
 * Runs every example of every published package in that package's folder, against its build. Each package has at least one, each ends
 * with status 0 in time, and the first one prints something.
 *
 * @param {string} root
 * @param {{ timeoutMs?: number, log?: (line: string) => void }} [options]
 * @returns {string[]} problems
 */
export function exampleProblems(root, { timeoutMs = 30_000, log = () => {} } = {}) {
  return publicPackages(root).flatMap((item) => {
    const readme = join(item.folder, "README.md");
    if (!existsSync(readme)) return [`${item.path}: no README.md`];
    if (!existsSync(join(item.folder, "dist"))) return [`${item.path}: no dist; build first`];
    const examples = jsFences(readFileSync(readme, "utf8"));
    if (examples.length === 0) return [`${item.path}/README.md: no \`\`\`js example`];
    return examples.flatMap((example, index) => {
      const where = `${item.path}/README.md:${example.line}`;
      const problem = runExample(item.folder, example.code, { timeoutMs, mustPrint: index === 0 });
      log(`${where}: ${problem ?? "ran"}`);
      return problem === undefined ? [] : [`${where}: ${problem}`];
    });
  });
}

/** @param {string} folder @param {string} code @param {{ timeoutMs: number, mustPrint: boolean }} options */
function runExample(folder, code, { timeoutMs, mustPrint }) {
  // Inside the package, so that the package can import itself by name as its users do.
  const scratch = join(folder, ".reports", "examples");
  mkdirSync(scratch, { recursive: true });
  const file = join(scratch, "example.mjs");
  writeFileSync(file, code);
  try {
    const result = spawnSync(process.execPath, [file], { cwd: folder, encoding: "utf8", timeout: timeoutMs });
    if (result.error !== undefined) return `did not end: ${result.error.message}`;
    if (result.status !== 0) return `ended with status ${result.status}: ${result.stderr.trim()}`;
    if (mustPrint && result.stdout.trim() === "") return "printed nothing";
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
