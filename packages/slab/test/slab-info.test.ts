import { expect, it } from "vitest";
import { KmemCache, slabInfo } from "../src/index.ts";

it("prints the lines of /proc/slabinfo, version 2.1", () => {
  const cache = KmemCache.create({ name: "conn", objectSize: 128, magazineSize: 4 });
  const objects = Array.from({ length: 40 }, () => cache.alloc());
  for (const object of objects.slice(0, 30)) cache.free(object);
  const [version, heading, line, end] = slabInfo([cache]).split("\n");
  expect(version).toBe("slabinfo - version: 2.1");
  expect(heading.startsWith("# name            <active_objs> <num_objs> <objsize>")).toBe(true);
  // 31 objects of 128 bytes fit beside the header of a page; of 30 freed, 8 fill the CPU's magazines and the depot has 4 x 4.
  expect(line).toBe(
    "conn                  10     62    128   31    1 : tunables    4    2    4 : slabdata      2      2     16",
  );
  expect(end).toBe("");
});
