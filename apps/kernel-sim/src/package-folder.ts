import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where the fixtures lie: the folder above `src` and `dist` alike. */
export const packageFolder: string = dirname(dirname(fileURLToPath(import.meta.url)));

/** The program's version. */
export const packageVersion: string = (
  JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")) as { version: string }
).version;
