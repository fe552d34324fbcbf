import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);

interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function shell(command: string): Promise<Finished> {
  try {
    const { stdout, stderr } = await run("/bin/sh", ["-c", command]);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as Finished;
    return { code, stdout, stderr };
  }
}

const interleave = (args: string): Promise<Finished> => shell(`node bin/interleave.js ${args}`);

test("a failure prints a command that replays the same failure with the same trace", async () => {
  const found = await interleave("test/fixtures/seqlock.mjs#noSecondCheck");
  expect(found.code).toBe(1);
  const command = /replay +(.*)/.exec(found.stdout)?.[1];
  expect(command).toBeDefined();
  const replayed = await shell(command!);
  expect(replayed.code).toBe(1);
  const failure = (text: string): string => text.slice(text.indexOf("\n\n"));
  expect(failure(replayed.stdout)).toBe(failure(found.stdout));
  expect(failure(found.stdout)).toContain("torn read");
});

test("a scenario that holds prints what was covered", async () => {
  const { code, stdout } = await interleave("test/fixtures/notify.mjs#countedNotify");
  expect(code).toBe(0);
  expect(stdout).toMatch(/no failure found[^]*covered every interleaving[^]*final states +1/);
});

test("--json prints the report", async () => {
  const { code, stdout } = await interleave(
    "test/fixtures/seqlock.mjs#noSecondCheck --strategy random --seed 7 --json",
  );
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ strategy: "random walk, seed 7", failure: { kind: "assertion" } });
});

test("a schedule that does not fit, a wrong flag and a missing scenario say so with status 2", async () => {
  expect(await interleave("test/fixtures/ring.mjs#bounded --schedule C")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("INTERLEAVE_INVALID_SCHEDULE"),
  });
  expect(await interleave("test/fixtures/ring.mjs#bounded --schedule x")).toMatchObject({ code: 2 });
  expect(await interleave("test/fixtures/ring.mjs#bounded --seed x")).toMatchObject({ code: 2 });
  expect(await interleave("test/fixtures/ring.mjs")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("exports no scenario"),
  });
});
