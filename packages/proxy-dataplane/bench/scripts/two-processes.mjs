// `node bench/scripts/two-processes.mjs`: wall time of work on one core after the other to both at once: two threads over one data path,
// and two processes that share nothing. What the second ratio falls short of 2 is the host's: other work on it, or its memory.
import { fork } from "node:child_process";
import { once } from "node:events";
import { makeCores, SIZE, VECTORS } from "../cores.mjs";
import { makeEcho } from "../common.mjs";

const ROUNDS = 11;
/** Long enough that it does not matter which core the scheduler first wakes a thread on. */
const WORK = 10 * VECTORS;
const FLOWS = 512;

/** A process with a data path of its own, which works through as many vectors as it is told. */
function serve() {
  const { run } = makeEcho({ size: SIZE, flows: FLOWS });
  process.on("message", (vectors) => {
    for (let i = 0; i < vectors; i++) run();
    process.send("done");
  });
  process.send("ready");
}

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function measure() {
  const children = [1, 2].map(() => fork(import.meta.filename, ["serve"]));
  await Promise.all(children.map((child) => once(child, "message")));
  const ask = (child, vectors) => {
    const answer = once(child, "message");
    child.send(vectors);
    return answer;
  };
  const { share, teardown } = await makeCores();
  const turns = [share(WORK, 0), share(0, WORK)];
  const both = share(WORK, WORK);
  const subjects = [
    { name: "two threads, one data path", apart: turns, together: both },
    {
      name: "two processes, nothing shared",
      apart: children.map((child) => () => ask(child, WORK)),
      together: () => Promise.all(children.map((child) => ask(child, WORK))),
    },
  ].map((subject) => ({ ...subject, ratios: [] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { apart, together, ratios } of subjects) {
      const alone = (await timed(apart[0])) + (await timed(apart[1]));
      ratios.push(alone / (await timed(together)));
    }
  }
  for (const { name, ratios } of subjects) {
    ratios.sort((a, b) => a - b);
    console.log(
      `${name}: ${ratios[ROUNDS >> 1].toFixed(2)}x, of ${ROUNDS} rounds ${ratios[0].toFixed(2)}-${ratios.at(-1).toFixed(2)}x`,
    );
  }
  for (const child of children) child.kill();
  await teardown();
}

if (process.argv[2] === "serve") serve();
else await measure();
