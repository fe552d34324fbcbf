// The rules behind dependencies.mjs: DESIGN's one-way graph, as data and pure functions.
import { existsSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { importsOf } from "./source.mjs";
import { shown, sourceFiles, workspacePackages } from "./workspace.mjs";

/**
 * @typedef {import("./workspace.mjs").WorkspacePackage} WorkspacePackage
 * @typedef {Record<string, string[]>} Layers
 */

/**
 * Who stands directly on whom; what is below may be used at any depth. Nobody uses the application, and nobody but the root uses tools.
 *
 *     smp ← preempt ← rcu ┐
 *     smp ← numa ← slab   ├← perf-cache ← proxy-dataplane ← kernel-sim
 *     smp ← profiling     ┘
 *
 * @type {Layers}
 */
export const layers = {
  "@x/smp": [],
  "@x/preempt": ["@x/smp"],
  "@x/numa": ["@x/smp"],
  "@x/profiling": ["@x/smp"],
  "@x/rcu": ["@x/preempt"],
  "@x/slab": ["@x/numa"],
  "@x/perf-cache": ["@x/rcu", "@x/slab", "@x/profiling"],
  "@x/proxy-dataplane": ["@x/perf-cache"],
  "@x/kernel-sim": ["@x/proxy-dataplane"],
};

const builtins = new Set(builtinModules);

/** Everything `name` may use. @param {string} name @param {Layers} graph @returns {Set<string>} */
export function allowedFor(name, graph) {
  const direct = graph[name] ?? [];
  return new Set(direct.flatMap((below) => [below, ...allowedFor(below, graph)]));
}

/**
 * All problems of the repository at `root`, one line each.
 *
 * @param {string} root
 * @param {Layers} [graph]
 * @returns {string[]}
 */
export function dependencyProblems(root, graph = layers) {
  const packages = workspacePackages(root).filter(({ path }) => !path.startsWith("tools/"));
  const byName = new Map(packages.map((item) => [item.name, item]));
  return packages.flatMap((item) => {
    if (graph[item.name] === undefined)
      return [
        `${item.path}: ${item.name} has no place in the dependency graph (tools/checks/lib/dependency-rules.mjs)`,
      ];
    return [
      ...manifestProblems(root, item, graph),
      ...importProblems(root, item, byName, graph),
      ...browserProblems(root, item),
    ];
  });
}

/** @param {string} root @param {WorkspacePackage} item @param {Layers} graph */
function manifestProblems(root, item, graph) {
  const { dependencies = {}, peerDependencies = {}, optionalDependencies = {}, devDependencies = {} } = item.manifest;
  const allowed = allowedFor(item.name, graph);
  const used = Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies, ...devDependencies });
  const problems = used
    .filter((name) => isOurs(name) && !allowed.has(name))
    .map((name) => `${item.path}/package.json: ${item.name} must not depend on ${name}`);

  // tsc builds in the order of the project references, so they repeat the dependencies.
  const config = join(item.folder, "tsconfig.build.json");
  if (!existsSync(config)) return problems;
  const references = JSON.parse(readFileSync(config, "utf8")).references ?? [];
  const referenced = new Set(
    references.map((/** @type {{ path: string }} */ { path }) => `@x/${path.split("/").at(-2)}`),
  );
  for (const name of Object.keys(dependencies).filter(isOurs)) {
    if (!referenced.has(name))
      problems.push(`${shown(root, config)}: no reference to ${name}, which package.json depends on`);
    referenced.delete(name);
  }
  for (const name of referenced)
    problems.push(`${shown(root, config)}: references ${name}, which package.json does not depend on`);
  return problems;
}

/** @param {string} root @param {WorkspacePackage} item @param {Map<string, WorkspacePackage>} byName @param {Layers} graph */
function importProblems(root, item, byName, graph) {
  const problems = [];
  for (const file of sourceFiles(item.folder, [".ts", ".mts", ".js", ".mjs"])) {
    for (const { specifier, line } of importsOf(readFileSync(file, "utf8"))) {
      const problem = importProblem(file, specifier, item, byName, graph);
      if (problem !== undefined) problems.push(`${shown(root, file)}:${line}: ${problem}`);
    }
  }
  return problems;
}

/** @param {string} file @param {string} specifier @param {WorkspacePackage} item @param {Map<string, WorkspacePackage>} byName @param {Layers} graph */
function importProblem(file, specifier, item, byName, graph) {
  const [part] = relative(item.folder, file).split(sep);
  if (specifier.startsWith(".")) {
    const target = relative(item.folder, join(dirname(file), specifier));
    if (target.startsWith("..")) return `«${specifier}» leaves the package; import the other package by its name`;
    if (part === "src" && !target.startsWith("src"))
      return `«${specifier}» leaves src, which is all that is published as source`;
    return undefined;
  }
  if (isNodeBuiltin(specifier)) return undefined;
  const name = packageNameOf(specifier);
  const declared = declaredIn(item, part === "src" || part === "bin");
  if (!isOurs(name)) {
    // What the root installs for everybody (vitest, fast-check, mitata) is there for tests and benchmarks only.
    if (part === "src" && !declared.has(name)) return `${name} is not among the dependencies of ${item.name}`;
    return undefined;
  }
  const subpath = `.${specifier.slice(name.length)}`;
  const target = byName.get(name);
  if (target === undefined) return `there is no package ${name}`;
  if (target.manifest.exports?.[subpath] === undefined) return `«${specifier}» is no public entry point of ${name}`;
  if (name === item.name) return undefined;
  if (!allowedFor(item.name, graph).has(name)) return `${item.name} must not use ${name}`;
  if (!declared.has(name)) return `${name} is not among the dependencies of ${item.name}`;
  return undefined;
}

/**
 * The entry points that a browser loads reach no module of Node: only `./node` may. Type-only imports do not count.
 *
 * @param {string} root @param {WorkspacePackage} item
 */
function browserProblems(root, item) {
  if (item.manifest.private === true) return [];
  const problems = [];
  for (const [subpath, target] of Object.entries(item.manifest.exports ?? {})) {
    if (subpath === "./node" || subpath.startsWith("./node/") || typeof target === "string") continue;
    const pending = [join(item.folder, target["@x/source"])];
    const seen = new Set(pending);
    for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
      if (!existsSync(file)) {
        problems.push(`${item.path}: the entry point «${subpath}» leads to ${shown(root, file)}, which is missing`);
        continue;
      }
      for (const { specifier, line, typeOnly } of importsOf(readFileSync(file, "utf8"))) {
        if (typeOnly) continue;
        const next = join(dirname(file), specifier);
        if (isNodeBuiltin(specifier) || /^@x\/[^/]+\/node(\/|$)/.test(specifier)) {
          problems.push(
            `${shown(root, file)}:${line}: «${specifier}» is for Node only, but ${item.name} reaches it from «${subpath}»; put it behind «./node»`,
          );
        } else if (specifier.startsWith(".") && next.startsWith(join(item.folder, "src")) && !seen.has(next)) {
          seen.add(next);
          pending.push(next);
        }
      }
    }
  }
  return problems;
}

/** @param {string} name */
function isOurs(name) {
  return name.startsWith("@x/") || name.startsWith("@tools/");
}

/** @param {string} specifier */
function isNodeBuiltin(specifier) {
  return specifier.startsWith("node:") || builtins.has(specifier);
}

/** @param {string} specifier */
function packageNameOf(specifier) {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/** @param {WorkspacePackage} item @param {boolean} forUsers */
function declaredIn(item, forUsers) {
  const { dependencies = {}, peerDependencies = {}, optionalDependencies = {}, devDependencies = {} } = item.manifest;
  return new Set(
    Object.keys({
      ...dependencies,
      ...peerDependencies,
      ...optionalDependencies,
      ...(forUsers ? {} : devDependencies),
    }),
  );
}
