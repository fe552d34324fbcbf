import { integerAt, listAt, objectAt, reject, textAt } from "./checked.ts";
import { compileThread } from "./compile-thread.ts";
import type { LitmusCode } from "./instructions.ts";
import { Locations } from "./locations.ts";

/** Threads of a program: what the machine's sets of read sections have bits for. */
export const MAX_THREADS = 8;

/** Check a program and turn it into instructions. Throws `SIM_INPUT` with the JSON pointer of what is wrong. */
export function compileLitmus(value: unknown): LitmusCode {
  const program = objectAt(value, "");
  const name = textAt(program["name"], "/name");
  const threads = listAt(program["threads"], "/threads");
  if (threads.length === 0 || threads.length > MAX_THREADS)
    reject("/threads", `1 to ${MAX_THREADS} threads are expected`);
  const locations = new Locations();
  const initial = Object.entries(program["init"] === undefined ? {} : objectAt(program["init"], "/init"));
  for (const [location] of initial) locations.address(location);
  const code = threads.map((thread, index) => compileThread(objectAt(thread, `/threads/${index}`), index, locations));
  const values = initial.map(([, to], index) => initialValue(to, `/init/${initial[index][0]}`, locations));
  const memory = locations.names.map((_, index) => values[index] ?? 0);
  return { name, locations: locations.names, memory, threads: code };
}

function initialValue(value: unknown, path: string, locations: Locations): number {
  if (typeof value === "number") return integerAt(value, path);
  return locations.address(textAt(objectAt(value, path)["addrOf"], `${path}/addrOf`));
}
