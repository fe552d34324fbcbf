import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, expectTypeOf, it } from "vitest";
import { AllocHint, PageAllocator } from "../src/index.ts";

it("has the shape that object caches take their pages from", () => {
  interface PageSource {
    readonly buffer: SharedArrayBuffer;
    readonly pageBytes: number;
    allocPages(order: number, node?: number): number;
    freePages(offset: number, order: number): void;
    nodeOf?(offset: number): number;
  }
  expectTypeOf<PageAllocator>().toExtend<PageSource>();
  expectTypeOf(AllocHint.preferNode(0)).toEqualTypeOf<AllocHint>();
  const source: PageSource = PageAllocator.create({ zones: [{ node: 3, bytes: 8192 }] });
  expect(source.nodeOf?.(source.allocPages(0))).toBe(3);
});

it("needs nothing of Node outside of its ./node entry", () => {
  const folder = join(import.meta.dirname, "../src");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.startsWith("node"),
  );
  expect(files.length).toBeGreaterThan(10);
  for (const file of files) expect(readFileSync(join(folder, file), "utf8"), file).not.toMatch(/from "node:/);
});
