import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";

const OWN_FOLDER = `${dirname(fileURLToPath(import.meta.url))}/`;
/** Frames are mapped to TypeScript, so this tool's own frames may be named by its sources too. */
const OWN_SOURCES = OWN_FOLDER.replace(/dist\/$/, "src/");

/** Where the code under test is: its innermost frame, and the scenario's if that is another file. */
export function sourceLine(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 40;
  const stack = new Error("where").stack ?? "";
  Error.stackTraceLimit = limit;
  const places: string[] = [];
  for (const line of stack.split("\n")) {
    // Node's own frames: newer versions show the one that runs microtasks.
    if (line.includes("node:internal")) continue;
    const place = /\(?((?:file:\/\/)?\/[^()]+:\d+:\d+)\)?$/.exec(line)?.[1];
    if (place === undefined) continue;
    const path = place.startsWith("file:") ? place.slice("file://".length) : place;
    if (path.startsWith(OWN_FOLDER) || path.startsWith(OWN_SOURCES)) continue;
    places.push(shorten(path));
  }
  const first = places[0] ?? "";
  const last = places.at(-1) ?? "";
  return fileOf(first) === fileOf(last) ? first : `${first} ← ${last}`;
}

/** The frames of a stack that are not this tool's. */
export function ownFramesRemoved(stack: string): string {
  return stack
    .split("\n")
    .slice(1)
    .filter((line) => !line.includes(OWN_FOLDER) && !line.includes(OWN_SOURCES) && !line.includes("node:internal"))
    .join("\n");
}

function shorten(place: string): string {
  const [, path, line, column] = /^(.*):(\d+):(\d+)$/.exec(place) ?? [];
  if (path === undefined) return place;
  const shown = relative(process.cwd(), path);
  return `${shown}:${line}:${column}`;
}

function fileOf(place: string): string {
  return place.replace(/:\d+:\d+$/, "");
}
