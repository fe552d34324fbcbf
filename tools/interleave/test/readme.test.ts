import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { search } from "../src/index.ts";

test("the example of the README fails as the README shows", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const code = /```js\n([^]*?)```/.exec(readme)![1];
  const module = new URL("../.reports/readme/lock.mjs", import.meta.url);
  mkdirSync(new URL(".", module), { recursive: true });
  writeFileSync(module, code);
  const { failure } = await search(module);
  expect(failure?.kind).toBe("assertion");
  expect(readme).toContain(`--schedule ${failure?.schedule}\n`);
  for (const { step, thread, operation, where } of failure!.trace) {
    const shown = new RegExp(
      `^ +${step} +${"AB"[thread]} +(.*?) +${where.replace(/^.*\//, "").replaceAll(".", "\\.")}$`,
      "m",
    );
    if (operation === "start") continue;
    expect(shown.exec(readme)?.[1]).toBe(operation);
  }
});
