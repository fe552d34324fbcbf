// `node bench/scripts/cpu-time.mjs` (Node 23.9): CPU time of a packet on one core, and on two that work at once. Unlike packets a second it does not
// depend on what else the host has to do.
import { makeCores, VECTORS } from "../cores.mjs";

const ROUNDS = 25;

if (process.threadCpuUsage === undefined) throw new Error("this engine does not tell the CPU time of a thread");
const { words, share, teardown } = await makeCores();
const [alone, together] = [share(VECTORS, 0), share(VECTORS, VECTORS)];
const [one, two] = [[], []];
for (let round = 0; round < ROUNDS; round++) {
  alone();
  one.push(words[18] / 1000);
  together();
  two.push((words[18] + words[34]) / 2000);
}
const best = (all) => Math.min(...all);
const middle = (all) => all.toSorted((a, b) => a - b)[ROUNDS >> 1];
const tell = (name, first, both) =>
  console.log(
    `${name}: ${first.toFixed(1)} ns on one core, ${both.toFixed(1)} ns on two: ${((2 * first) / both).toFixed(2)}x`,
  );
tell("best", best(one), best(two));
tell("median", middle(one), middle(two));
await teardown();
