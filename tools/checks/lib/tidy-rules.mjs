// What was decided against, as data: each ban names its replacement.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { lineOf, only } from "./source.mjs";
import { shown, sourceFiles } from "./workspace.mjs";

/**
 * @typedef {object} Ban
 * @property {RegExp} pattern      global
 * @property {string} instead      what to do, completing «…: »
 * @property {RegExp} where        paths from the root that it applies to
 * @property {RegExp} [except]     paths that it does not apply to
 * @property {"code" | "comment" | "all"} in
 */

/** A file that cannot be read in one sitting has more than one subject. Tests are lists of cases and may be longer. */
export const maxLines = 450;
export const maxTestLines = 800;

const librarySources = /^packages\/[^/]+\/src\//;
const emulatorSources = /^apps\/kernel-sim\/src\/(machine|kernel|workload)\//;
const runningSources = /^(packages\/[^/]+|apps\/[^/]+)\/src\//;
/** Where the secret of a table is drawn, unless the caller gives one: a seed would defeat it. */
const secretFiles = /^packages\/(perf-cache\/src\/siphash|proxy-dataplane\/src\/policy\/client-limits)\.ts$/;
const halFiles = /\/(hal|solo-hal|worker-hal|shared-clock|block-on)\.ts$|^packages\/[^/]+\/src\/node\//;
const everything = /./;

/** @type {Ban[]} */
export const bans = [
  {
    pattern: /\bMath\.random\b/g,
    instead: "take numbers from a seeded generator that is passed in",
    where: runningSources,
    in: "code",
  },
  {
    pattern: /\bcrypto\.(getRandomValues|randomUUID|randomBytes)\b/g,
    instead: "take numbers from a seeded generator that is passed in",
    where: runningSources,
    except: secretFiles,
    in: "code",
  },
  {
    pattern: /\bDate\.now\b|\bnew Date\s*\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b/g,
    instead: "ask hal.now()",
    where: librarySources,
    except: halFiles,
    in: "code",
  },
  {
    pattern: /\bDate\.now\b|\bnew Date\s*\(\s*\)|\bperformance\.now\b|\bprocess\.hrtime\b/g,
    instead: "use the machine's virtual clock",
    where: emulatorSources,
    in: "code",
  },
  {
    pattern: /\bAtomics\.(wait|waitAsync|notify|pause)\b/g,
    instead: "use hal.wait, hal.wake and hal.relax",
    where: librarySources,
    except: halFiles,
    in: "code",
  },
  {
    pattern: /\bprocess\./g,
    instead: "put what needs Node behind «./node»",
    where: librarySources,
    except: /\/src\/node\//,
    in: "code",
  },
  { pattern: /(?<![.#\w])require\s*\(|\bmodule\.exports\b/g, instead: "use ES modules", where: everything, in: "code" },
  { pattern: /^export default\b/gm, instead: "export by name", where: runningSources, in: "code" },
  {
    pattern:
      /\b(Map|Object)\.groupBy\b|\bPromise\.(withResolvers|try)\b|\bArray\.fromAsync\b|\bnew (Async)?DisposableStack\b|\bIterator\.(from|prototype)\b/g,
    instead: "Node 20 does not have it; write the few lines",
    where: runningSources,
    in: "code",
  },
  { pattern: /\b(TODO|FIXME|XXX|HACK)\b/g, instead: "do it, or file an issue", where: everything, in: "comment" },
  {
    pattern: /\b(for now|not (yet )?implemented|simplified version|placeholder|stub)\b/gi,
    instead: "finish it, or describe the limit that is meant to stay",
    where: runningSources,
    in: "comment",
  },
  {
    pattern: /\b(describe|it|test)\.only\b/g,
    instead: "remove .only: it hides every other test",
    where: /\/test\//,
    in: "code",
  },
];

/**
 * All untidy places of the repository at `root`, one line each.
 *
 * @param {string} root
 * @param {Ban[]} [rules]
 * @returns {string[]}
 */
export function tidyProblems(root, rules = bans) {
  const problems = [];
  for (const group of ["packages", "apps", "tools"]) {
    for (const file of sourceFiles(join(root, group), [".ts", ".mts", ".js", ".mjs"])) {
      problems.push(...fileProblems(shown(root, file), readFileSync(file, "utf8"), rules));
    }
  }
  return problems;
}

/**
 * @param {string} path  from the root
 * @param {string} source
 * @param {Ban[]} [rules]
 * @returns {string[]}
 */
export function fileProblems(path, source, rules = bans) {
  const problems = [];
  const lines = source.split("\n").length - 1;
  const limit = path.includes("/test/") ? maxTestLines : maxLines;
  if (lines > limit) problems.push(`${path}: ${lines} lines; split it by subject (at most ${limit})`);
  const views = { code: only(source, ["code"]), comment: only(source, ["comment"]), all: source };
  for (const { pattern, instead, where, except, in: view } of rules) {
    if (!where.test(path) || except?.test(path)) continue;
    for (const match of views[view].matchAll(pattern))
      problems.push(`${path}:${lineOf(source, match.index)}: «${match[0].trim()}»: ${instead}`);
  }
  return problems;
}
