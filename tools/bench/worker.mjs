// Measures one bench file in a process of its own (so that one file's types, garbage and crashes do not reach another) and sends
// each case's result to the parent.
import { pathToFileURL } from "node:url";
import { checkCases, runCase } from "./cases.mjs";

const [file, options] = process.argv.slice(2);
try {
  const { default: cases } = await import(pathToFileURL(file).href);
  checkCases(cases);
  for (const [index, item] of cases.entries()) {
    process.send({ progress: { name: item.name, index, count: cases.length } });
    process.send({ result: await runCase(item, JSON.parse(options)) });
  }
  process.send({ done: true }, () => process.exit(0)); // worker threads that a bench left behind must not keep the process
} catch (error) {
  process.send({ error: error?.stack ?? String(error) }, () => process.exit(1));
}
