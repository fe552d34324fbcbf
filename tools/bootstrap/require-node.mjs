// First import of every bootstrap script. Written so that old Node versions can parse it and say what is wrong.
import { readFileSync } from "node:fs";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

/** The one line for a Node that is too old, or `undefined` where `version` satisfies a range of the form `>=MAJOR.MINOR`. */
export function nodeProblem(version, range) {
  const [major, minor] = parts(version);
  const [leastMajor, leastMinor] = parts(range);
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return undefined;
  return `This project needs Node ${range.replace(">=", "")} or later; this is ${version}.`;
}

function parts(text) {
  return text
    .replace(/^[^0-9]*/, "")
    .split(".")
    .map(Number);
}

const problem = nodeProblem(process.version, manifest.engines.node);
if (problem !== undefined) {
  console.error(problem);
  process.exit(1);
}
