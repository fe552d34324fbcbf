import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { SimError } from "../errors.ts";

/**
 * Write a set of files into `folder`, all or none: they are written beside it first and moved in when complete. Files of
 * the same names are replaced, others stay.
 */
export function writeArtefacts(folder: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  const target = resolve(folder);
  let staging: string | undefined;
  try {
    mkdirSync(dirname(target), { recursive: true });
    staging = mkdtempSync(`${target}.tmp-`);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(staging, name), content);
    if (!existsSync(target)) {
      renameSync(staging, target);
      return;
    }
    for (const name of Object.keys(files)) renameSync(join(staging, name), join(target, name));
    rmSync(staging, { recursive: true });
  } catch (cause) {
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true });
    const { code } = cause as NodeJS.ErrnoException;
    throw new SimError("SIM_OUTPUT", `cannot be written (${code ?? "error"})`, { file: folder }, { cause });
  }
}
