import { test } from "vitest";
import { EpollEngine } from "../../src/node/epoll/engine.ts";
import { loadLibc } from "../../src/node/epoll/libc.ts";
import { NetEngine } from "../../src/node/net-engine.ts";
import type { Engine } from "../../src/relay/engine.ts";

type NamedEngine = readonly [name: string, make: () => Engine];

const libc = loadLibc();
if (typeof libc === "string") test.skip(`epoll engine: ${libc}`);

/** Sockets of Node.js in the same thread, as tests have, want its loop to turn at once. */
function epollEngine(): Engine {
  const engine = new EpollEngine(libc as Exclude<typeof libc, string>);
  engine.hold();
  return engine;
}

/** Every engine that works here; the tests are the same for all. */
export const engines: readonly NamedEngine[] = [
  ["node", () => new NetEngine()],
  ...(typeof libc === "string" ? [] : ([["epoll", epollEngine]] as const)),
];
