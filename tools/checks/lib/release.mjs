// The release without its last step: versions and change logs in a throw-away clone, then a dry run of publishing every package.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { execute, pnpmCommand } from "./pack.mjs";
import { publicPackages, workspacePackages } from "./workspace.mjs";

/** @typedef {import("./workspace.mjs").WorkspacePackage} WorkspacePackage */

/**
 * What npm needs to attest where a package was built: provenance is switched on, and the manifest names the repository and the folder that
 * the attestation will name.
 *
 * @param {WorkspacePackage[]} packages
 * @returns {string[]}
 */
export function manifestProblems(packages) {
  const urls = new Set(packages.map(({ manifest }) => manifest.repository?.url));
  const problems =
    urls.size > 1 ? [`the packages name ${urls.size} different repositories: ${[...urls].join(", ")}`] : [];
  for (const { name, path, manifest } of packages) {
    const wanted = [
      [manifest.publishConfig?.provenance === true, "publishConfig.provenance must be true"],
      [manifest.publishConfig?.access === "public", "publishConfig.access must be «public»"],
      [/^git\+https:\/\/\S+\.git$/.test(manifest.repository?.url ?? ""), "repository.url must be git+https://….git"],
      [manifest.repository?.directory === path, `repository.directory must be «${path}»`],
      [typeof manifest.license === "string", "license is missing"],
      [typeof manifest.description === "string", "description is missing"],
      [manifest.engines?.node !== undefined, "engines.node is missing"],
    ];
    for (const [holds, problem] of wanted) if (!holds) problems.push(`${name}: ${problem}`);
  }
  return problems;
}

/**
 * The release workflow may ask for the identity token that provenance is signed with, and asks for provenance.
 *
 * @param {string} workflow   text of the YAML file
 * @returns {string[]}
 */
export function workflowProblems(workflow) {
  const wanted = [
    [/^\s*id-token: write\s*(#.*)?$/m, "«id-token: write» is missing from its permissions"],
    [/^\s*NPM_CONFIG_PROVENANCE: "?true"?\s*$/m, "NPM_CONFIG_PROVENANCE is not set to true"],
    [/changesets\/action@/, "changesets/action is not used"],
    [/^\s*publish: .*\brelease\b/m, "its publish command is not the release script"],
  ];
  return wanted
    .filter(([pattern]) => !(/** @type {RegExp} */ (pattern).test(workflow)))
    .map(([, problem]) => `release workflow: ${problem}`);
}

/**
 * Runs the release of the committed state in `clone`, an empty folder, up to a publish dry run of every package. Reaches no registry.
 *
 * @param {string} root
 * @param {string} clone
 * @param {(line: string) => void} log
 * @returns {string[]} problems
 */
export function releaseProblems(root, clone, log) {
  const packages = publicPackages(root);
  const problems = [
    ...manifestProblems(packages),
    ...workflowProblems(readFileSync(join(root, ".github/workflows/release.yml"), "utf8")),
  ];
  const cloned = cloneCommitted(root, clone);
  if (cloned !== undefined) return [...problems, `cloning: ${cloned}`];

  const changeset = [join(root, "node_modules/@changesets/cli/bin.js")];
  const pending = pendingChangesets(clone);
  const status = execute(process.execPath, [...changeset, "status"], clone);
  if (status.problem !== undefined) problems.push(`changeset status: ${status.problem}`);
  const version = execute(process.execPath, [...changeset, "version"], clone);
  if (version.problem !== undefined) return [...problems, `changeset version: ${version.problem}`];
  if (pending.length > 0 && pendingChangesets(clone).length > 0)
    problems.push("changeset version left changesets behind");

  provideDependencies(root, clone);
  for (const before of packages) {
    const folder = join(clone, before.path);
    const after = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    problems.push(...versionProblems(before, after.version, folder));
    const dryRun = execute(
      "npx",
      [...pnpmCommand(root), "publish", "--dry-run", "--no-git-checks", "--access", "public"],
      folder,
    );
    if (dryRun.problem !== undefined) problems.push(`${before.name}: publish --dry-run: ${dryRun.problem}`);
    log(
      `${before.name}: ${before.manifest.version} → ${after.version}${dryRun.problem === undefined ? ", dry run passed" : ""}`,
    );
  }
  return problems;
}

/** A clone on a branch «main», as the release workflow has it; the work tree's uncommitted changes are not part of it. @param {string} root @param {string} clone */
function cloneCommitted(root, clone) {
  const made = execute("git", ["clone", "--quiet", "--no-hardlinks", root, clone], root);
  return made.problem ?? execute("git", ["checkout", "--quiet", "-B", "main"], clone).problem;
}

/** @param {string} root @returns {string[]} */
function pendingChangesets(root) {
  return readdirSync(join(root, ".changeset")).filter((name) => name.endsWith(".md") && name !== "README.md");
}

/**
 * Publishing reads the build, and the workspace packages' versions through node_modules: both are given to the clone without an installation.
 *
 * @param {string} root @param {string} clone
 */
function provideDependencies(root, clone) {
  const all = workspacePackages(clone);
  for (const { path, folder, manifest } of all) {
    if (existsSync(join(root, path, "dist")))
      cpSync(join(root, path, "dist"), join(folder, "dist"), { recursive: true });
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      const target = all.find((item) => item.name === name);
      if (target === undefined) continue;
      const link = join(folder, "node_modules", name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(target.folder, link, "junction");
    }
  }
}

/**
 * A package that has something to release gets a version and a change log that names it.
 *
 * @param {WorkspacePackage} before @param {string} version @param {string} folder
 * @returns {string[]}
 */
function versionProblems(before, version, folder) {
  if (version === "0.0.0") return [`${before.name}: has no changeset and was never released; add one (pnpm changeset)`];
  const changelog = join(folder, "CHANGELOG.md");
  if (!existsSync(changelog)) return [`${before.name}: no CHANGELOG.md after changeset version`];
  return readFileSync(changelog, "utf8").includes(`## ${version}`)
    ? []
    : [`${before.name}: CHANGELOG.md does not name ${version}`];
}
