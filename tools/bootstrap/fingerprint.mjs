// What an installation and a build were made from, as hashes, so that a second call can tell that nothing has to be done.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";

/**
 * The workspace's package folders, those of pnpm-workspace.yaml that have a package.json, sorted.
 *
 * @param {string} root
 * @returns {string[]}
 */
export function workspaceFolders(root) {
  /** @type {string[]} */
  const folders = [];
  for (const group of ["packages", "apps", "tools"]) {
    const parent = join(root, group);
    if (!existsSync(parent)) continue;
    for (const name of readdirSync(parent)) {
      if (existsSync(join(parent, name, "package.json"))) folders.push(join(parent, name));
    }
  }
  return folders.sort();
}

/** Everything that decides what `pnpm install` does. */
export function installFingerprint(root) {
  const files = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"].map((name) => join(root, name));
  for (const folder of workspaceFolders(root)) files.push(join(folder, "package.json"));
  return hashContents(root, files, `${process.platform} ${process.arch}`);
}

/** Everything that decides what a build makes: sources and configuration, by content. */
export function buildInputs(root) {
  const files = [join(root, "tsconfig.base.json"), join(root, "pnpm-lock.yaml")];
  for (const folder of workspaceFolders(root)) {
    files.push(join(folder, "package.json"), join(folder, "tsconfig.build.json"));
    for (const part of ["src", "bin"]) files.push(...walk(join(folder, part)));
  }
  return hashContents(root, files.filter(existsSync), "");
}

/** What the build has made: name, size and time of every file, so that a deleted or edited output is noticed. */
export function buildOutputs(root) {
  const hash = createHash("sha256");
  for (const folder of workspaceFolders(root)) {
    if (!existsSync(join(folder, "tsconfig.build.json"))) continue;
    const files = walk(join(folder, "dist"));
    hash.update(`${relative(root, folder)} ${files.length}\n`);
    for (const file of files) {
      const { size, mtimeMs } = statSync(file);
      hash.update(`${relative(root, file)} ${size} ${mtimeMs}\n`);
    }
  }
  return hash.digest("hex");
}

function walk(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function hashContents(root, files, salt) {
  const hash = createHash("sha256").update(salt);
  for (const file of files) hash.update(`\n${relative(root, file)}\n`).update(readFileSync(file));
  return hash.digest("hex");
}
