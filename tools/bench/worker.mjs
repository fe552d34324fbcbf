// Measures cases of one bench file and sends each one's result to the parent: the case of a number, in a process of its own, so that one
// case's types, garbage and crashes do not reach another; without a number all of them.
import { pathToFileURL } from "node:url";
import { checkCases, runCase } from "./cases.mjs";

/**
 * @typedef {object} Message
 * @property {{ name: string, index: number, count: number }} [progress]
 * @property {object} [result]
 * @property {true} [done]
 * @property {string} [error]
 */

const [file, options, number] = process.argv.slice(2);
try {
  const { default: cases } = await import(pathToFileURL(file).href);
  checkCases(cases);
  for (const [index, item] of cases.entries()) {
    if (number !== undefined && index !== Number(number)) continue;
    tell({ progress: { name: item.name, index, count: cases.length } });
    tell({ result: await runCase(item, JSON.parse(options)) });
  }
  finish({ done: true }, 0);
} catch (error) {
  finish({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 1);
}

/** @param {Message} message */
function tell(message) {
  process.send?.(message);
}

/** Ends the process: worker threads that a benchmark left behind must not keep it. @param {Message} message @param {number} status */
function finish(message, status) {
  process.send?.(message, undefined, undefined, () => process.exit(status));
}
