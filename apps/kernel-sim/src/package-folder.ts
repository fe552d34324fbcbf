import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** Where the fixtures lie: the folder above `src` and `dist` alike. */
export const packageFolder: string = dirname(dirname(fileURLToPath(import.meta.url)));
