import type { Engine } from "../relay/engine.ts";
import { NetEngine } from "./net-engine.ts";

/** The engine of a name; `auto` is the fastest that works here. */
export function chooseEngine(_name: "auto" | "net"): Engine {
  return new NetEngine();
}
