import type { Engine } from "../../src/relay/engine.ts";
import { NetEngine } from "../../src/node/net-engine.ts";

/** Every engine that works here; the tests are the same for all. */
export const engines: readonly (readonly [name: string, make: () => Engine])[] = [["net", () => new NetEngine()]];
