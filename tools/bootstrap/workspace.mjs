// Installs and builds the workspace, each only when something has changed since the last time.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildInputs, buildOutputs, installFingerprint, workspaceFolders } from "./fingerprint.mjs";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** `pnpm@…`, as package.json pins it. */
const packageManager = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).packageManager;

const stampFile = join(root, "node_modules/.bootstrap.json");

/** Runs the pinned pnpm, which a fresh machine does not have: npx fetches it once. Returns its exit status. */
export function pnpm(parameters, options = {}) {
  const result = spawnSync("npx", ["-y", packageManager, ...parameters], {
    cwd: root,
    stdio: options.stdio ?? "inherit",
    shell: process.platform === "win32",
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", TURBO_NO_UPDATE_NOTIFIER: "1", ...options.env },
  });
  if (result.error) throw new Error(`npx could not be started: ${result.error.message}`);
  return result.status ?? 1;
}

/** Installs the dependencies that the lock file names, unless they are there already. */
export function ensureInstalled() {
  const fingerprint = installFingerprint(root);
  if (readStamp().install === fingerprint && workspaceFolders(root).every(hasItsModules)) return;
  console.error("Installing dependencies …");
  // What pnpm has to say goes to standard error: standard output belongs to the program that is started.
  const status = pnpm(["install", "--frozen-lockfile", "--prefer-offline"], {
    stdio: ["ignore", 2, 2],
    env: { CI: "true" },
  });
  if (status !== 0) fail(`the installation failed (pnpm ended with status ${status})`);
  writeStamp({ install: fingerprint });
}

/** A package with dependencies has a node_modules folder; one that lost it has to be installed again. */
function hasItsModules(folder) {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const count = Object.keys(dependencies).length + Object.keys(devDependencies).length;
  return count === 0 || existsSync(join(folder, "node_modules"));
}

/** Builds every package, unless sources and outputs are those of the last build. */
export function ensureBuilt() {
  const inputs = buildInputs(root);
  const stamp = readStamp();
  if (stamp.inputs === inputs && stamp.outputs === buildOutputs(root)) return;
  console.error("Building …");
  const status = pnpm(["exec", "turbo", "run", "build", "--output-logs=errors-only"], { stdio: ["ignore", 2, 2] });
  if (status !== 0) fail(`the build failed (turbo ended with status ${status})`);
  writeStamp({ ...readStamp(), inputs, outputs: buildOutputs(root) });
}

export function fail(message) {
  console.error(`bootstrap: ${message}`);
  process.exit(1);
}

function readStamp() {
  if (!existsSync(stampFile)) return {};
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    rmSync(stampFile); // half-written by an interrupted run: do the work again
    return {};
  }
}

function writeStamp(stamp) {
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, JSON.stringify(stamp));
}
