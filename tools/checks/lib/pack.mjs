// Packs the published packages and tries them as a user would: installed from their tarballs in an empty folder.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { publicPackages } from "./workspace.mjs";

/**
 * @typedef {object} Packed
 * @property {string} name
 * @property {string} tarball   absolute
 * @property {string[]} files   paths inside the package
 * @property {any} manifest     of the source tree
 */

/**
 * Runs a program and returns what it printed; `problem` is set when it failed.
 *
 * @param {string} program
 * @param {string[]} parameters
 * @param {string} cwd
 * @param {Record<string, string>} [env]
 * @returns {{ stdout: string, problem: string | undefined }}
 */
export function execute(program, parameters, cwd, env = {}) {
  const result = spawnSync(program, parameters, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, ...env },
    maxBuffer: 1 << 26,
    shell: process.platform === "win32",
  });
  if (result.error !== undefined)
    return { stdout: "", problem: `${program} could not be started: ${result.error.message}` };
  const problem =
    result.status === 0
      ? undefined
      : `${basename(program)} ended with status ${result.status}: ${lastLines(result.stdout + result.stderr)}`;
  return { stdout: result.stdout, problem };
}

/** The pinned pnpm through npx, as everywhere. @param {string} root @returns {string[]} */
export function pnpmCommand(root) {
  return ["-y", JSON.parse(readFileSync(join(root, "package.json"), "utf8")).packageManager];
}

/**
 * Packs every published package into `destination`.
 *
 * @param {string} root
 * @param {string} destination
 * @returns {{ packed: Packed[], problems: string[] }}
 */
export function packAll(root, destination) {
  const packages = publicPackages(root);
  const filters = packages.map(({ name }) => `--filter=${name}`);
  const parameters = [...pnpmCommand(root), ...filters, "pack", "--pack-destination", destination, "--json"];
  const { stdout, problem } = execute("npx", parameters, root);
  if (problem !== undefined) return { packed: [], problems: [problem] };
  /** @type {{ name: string, filename: string, files: { path: string }[] }[]} */
  const made = [JSON.parse(stdout)].flat();
  const packed = made.map(({ name, filename, files }) => {
    const { manifest } = /** @type {{ manifest: any }} */ (packages.find((item) => item.name === name));
    return { name, tarball: join(destination, basename(filename)), files: files.map(({ path }) => path), manifest };
  });
  const missing = packages.filter(({ name }) => !packed.some((item) => item.name === name));
  return { packed, problems: missing.map(({ name }) => `${name}: not packed`) };
}

/**
 * What a tarball must and must not hold.
 *
 * @param {Packed} packed
 * @returns {string[]}
 */
export function contentProblems({ name, files, manifest }) {
  const present = new Set(files);
  /** @type {string[]} */
  const wanted = Object.values(manifest.exports ?? {}).flatMap((target) =>
    typeof target === "string" ? [target] : Object.values(target),
  );
  const missing = ["package.json", "README.md", "LICENSE", ...wanted.map((path) => path.replace(/^\.\//, ""))].filter(
    (path) => !present.has(path),
  );
  const surplus = files.filter((path) =>
    /^(test|bench|etc|node_modules|\.reports|\.turbo)\/|\.tsbuildinfo$|\.tgz$/.test(path),
  );
  return [
    ...missing.map((path) => `${name}: ${path} is missing from the tarball`),
    ...surplus.map((path) => `${name}: ${path} does not belong into the tarball`),
  ];
}

/** The specifiers that users can import: `@x/smp`, `@x/smp/node` … @param {Packed} packed */
export function entryPoints({ name, manifest }) {
  return Object.entries(manifest.exports ?? {})
    .filter(([, target]) => typeof target !== "string")
    .map(([subpath]) => name + subpath.slice(1));
}

/**
 * Installs the tarballs in the empty folder `project` without any registry, imports every entry point in Node, and type-checks a
 * consumer with the strictest settings.
 *
 * @param {Packed[]} packed
 * @param {string} project
 * @param {string} root   where the compiler and Node's types are
 * @returns {string[]}
 */
export function installProblems(packed, project, root) {
  const dependencies = Object.fromEntries(packed.map(({ name, tarball }) => [name, `file:${tarball}`]));
  // The packages name each other by version; they are on no registry yet, so every such name leads to its tarball.
  const overrides = Object.fromEntries(packed.map(({ name }) => [name, `$${name}`]));
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({ private: true, type: "module", dependencies, overrides }, null, 2),
  );
  const installed = execute("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"], project);
  if (installed.problem !== undefined) return [`installing the tarballs: ${installed.problem}`];

  const specifiers = packed.flatMap(entryPoints);
  writeFileSync(join(project, "import.mjs"), importScript(specifiers));
  const imported = execute(process.execPath, ["import.mjs"], project);
  if (imported.problem !== undefined) return [`importing the tarballs: ${imported.problem}`];
  return consumerProblems(specifiers, project, root);
}

/** Imports everything and fails when an entry point exports nothing. @param {string[]} specifiers */
function importScript(specifiers) {
  return `for (const specifier of ${JSON.stringify(specifiers)}) {
  const names = Object.keys(await import(specifier));
  if (names.length === 0) throw new Error(specifier + " exports nothing");
  console.log(specifier + ": " + names.length + " exports");
}
process.exit(0);
`;
}

/** @param {string[]} specifiers @param {string} project @param {string} root */
function consumerProblems(specifiers, project, root) {
  const lines = specifiers.map((specifier, index) => `import * as entry${index} from "${specifier}";`);
  const names = specifiers.map((_, index) => `entry${index}`);
  writeFileSync(
    join(project, "consumer.ts"),
    `${lines.join("\n")}\nexport const entries: object[] = [${names.join(", ")}];\n`,
  );
  const compilerOptions = {
    target: "es2023",
    lib: ["es2023", "esnext.disposable", "dom"],
    module: "nodenext",
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    typeRoots: [join(root, "node_modules/@types")],
    types: ["node"],
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
  const { problem } = execute(
    process.execPath,
    [join(root, "node_modules/typescript/bin/tsc"), "-p", project],
    project,
  );
  return problem === undefined ? [] : [`type-checking a consumer: ${problem}`];
}

/** @param {string} text */
export function lastLines(text) {
  return text.trim().split("\n").slice(-12).join("\n  ");
}
