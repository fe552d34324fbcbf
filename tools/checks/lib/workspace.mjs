import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const repository = join(dirname(fileURLToPath(import.meta.url)), "../../..");

/**
 * @typedef {object} WorkspacePackage
 * @property {string} name       as in package.json, `@x/slab`
 * @property {string} folder     absolute
 * @property {string} path       from the root, `packages/slab`
 * @property {any} manifest      the parsed package.json
 */

/**
 * The packages below `packages`, `apps` and `tools`, in that order, each by name.
 *
 * @param {string} root
 * @returns {WorkspacePackage[]}
 */
export function workspacePackages(root) {
  const found = [];
  for (const group of ["packages", "apps", "tools"]) {
    const parent = join(root, group);
    if (!existsSync(parent)) continue;
    for (const entry of readdirSync(parent).sort()) {
      const file = join(parent, entry, "package.json");
      if (!existsSync(file)) continue;
      const manifest = JSON.parse(readFileSync(file, "utf8"));
      found.push({ name: manifest.name, folder: join(parent, entry), path: `${group}/${entry}`, manifest });
    }
  }
  return found;
}

/** The packages that are published. @param {string} root */
export function publicPackages(root) {
  return workspacePackages(root).filter(({ manifest }) => manifest.private !== true);
}

/**
 * The files below `folder` whose names end as one of `extensions`, sorted; what is made or installed is left out.
 *
 * @param {string} folder
 * @param {string[]} extensions
 * @returns {string[]}
 */
export function sourceFiles(folder, extensions) {
  if (!existsSync(folder)) return [];
  const made = new Set(["node_modules", "dist", ".reports", ".turbo", "coverage"]);
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return made.has(entry.name) ? [] : sourceFiles(path, extensions);
      return extensions.some((extension) => entry.name.endsWith(extension)) ? [path] : [];
    })
    .sort();
}

/** A path as people read it. @param {string} root @param {string} file */
export function shown(root, file) {
  return relative(root, file).replaceAll("\\", "/");
}
