import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { kernelSimArguments, testSelection } from "../arguments.mjs";
import { buildInputs, buildOutputs, installFingerprint, workspaceFolders } from "../fingerprint.mjs";
import { nodeProblem } from "../require-node.mjs";
import { closingLine, summarize } from "../summary.mjs";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "bootstrap-"));
  write("package.json", "{}");
  write("pnpm-lock.yaml", "lock");
  write("packages/a/package.json", "{}");
  write("packages/a/tsconfig.build.json", "{}");
  write("packages/a/src/index.ts", "export const a = 1;");
  write("packages/a/dist/index.js", "export const a = 1;");
});
afterEach(() => rmSync(root, { recursive: true }));

function write(name: string, text: string): string {
  const file = join(root, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

function report(name: string, members: object): string {
  const folder = join(root, "packages", name);
  write(
    `packages/${name}/.reports/vitest.json`,
    JSON.stringify({
      numTotalTests: 3,
      numPassedTests: 3,
      numFailedTests: 0,
      numPendingTests: 0,
      numTodoTests: 0,
      success: true,
      testResults: [],
      ...members,
    }),
  );
  return folder;
}

describe("Node version", () => {
  it("accepts the least version and anything later", () => {
    for (const version of ["v20.19.0", "v20.20.2", "v22.0.0", "v100.1.0"])
      expect(nodeProblem(version, ">=20.19")).toBeUndefined();
  });
  it("names both versions in one line when Node is too old", () => {
    for (const version of ["v20.18.9", "v18.20.4", "v8.0.0"])
      expect(nodeProblem(version, ">=20.19")).toBe(`This project needs Node 20.19 or later; this is ${version}.`);
  });
});

describe("fingerprints", () => {
  it("see a workspace package only where there is a package.json", () => {
    mkdirSync(join(root, "tools/empty"), { recursive: true });
    expect(workspaceFolders(root)).toEqual([join(root, "packages/a")]);
  });
  it("ask for an installation when the lock file or any package.json changes, and not when a source does", () => {
    const before = installFingerprint(write("pnpm-workspace.yaml", "packages: []") && root);
    write("packages/a/src/index.ts", "export const a = 2;");
    expect(installFingerprint(root)).toBe(before);
    write("packages/a/package.json", '{ "dependencies": {} }');
    const after = installFingerprint(root);
    expect(after).not.toBe(before);
    write("pnpm-lock.yaml", "another lock");
    expect(installFingerprint(root)).not.toBe(after);
  });
  it("ask for a build when a source changes by content, is added or is removed", () => {
    const before = buildInputs(root);
    utimesSync(join(root, "packages/a/src/index.ts"), 1, 1);
    expect(buildInputs(root)).toBe(before);
    const extra = write("packages/a/src/extra.ts", "");
    expect(buildInputs(root)).not.toBe(before);
    rmSync(extra);
    expect(buildInputs(root)).toBe(before);
    write("packages/a/src/index.ts", "export const a = 2;");
    expect(buildInputs(root)).not.toBe(before);
  });
  it("notice an output that was edited, deleted or added", () => {
    const file = join(root, "packages/a/dist/index.js");
    utimesSync(file, 5, 5);
    const before = buildOutputs(root);
    utimesSync(file, 6, 6);
    expect(buildOutputs(root)).not.toBe(before);
    utimesSync(file, 5, 5);
    expect(buildOutputs(root)).toBe(before);
    rmSync(file);
    expect(buildOutputs(root)).not.toBe(before);
  });
});

describe("arguments", () => {
  it("of npm start belong to run unless they name a command", () => {
    expect(kernelSimArguments([])).toEqual(["run"]);
    expect(kernelSimArguments(["--machine", "laptop"])).toEqual(["run", "--machine", "laptop"]);
    expect(kernelSimArguments(["my/scenario.json"])).toEqual(["run", "my/scenario.json"]);
    expect(kernelSimArguments(["boot", "--machine", "laptop"])).toEqual(["boot", "--machine", "laptop"]);
  });
  it("of npm test select packages by either name and forward options", () => {
    const names = ["@x/a", "@x/b", "@tools/c"];
    expect(testSelection([], names)).toEqual({ selected: names, forwarded: [] });
    expect(testSelection(["b", "@tools/c", "--force"], names)).toEqual({
      selected: ["@x/b", "@tools/c"],
      forwarded: ["--force"],
    });
    expect(() => testSelection(["missing"], names)).toThrow("there is no package «missing»");
  });
});

describe("summary", () => {
  it("adds up the reports of all packages", () => {
    const folders = [report("a", {}), report("b", { numPassedTests: 2, numPendingTests: 1 })];
    expect(closingLine(summarize(folders))).toBe("5 passed, 0 failed, 1 skipped");
  });
  it("names the tests that failed", () => {
    const testResults = [{ assertionResults: [{ status: "failed", fullName: "slab keeps count" }] }];
    const total = summarize([report("a", { numPassedTests: 2, numFailedTests: 1, success: false, testResults })]);
    expect(total).toEqual({ passed: 2, failed: 1, skipped: 0, problems: ["a: slab keeps count"] });
  });
  it("counts a missing report, a broken one, one without tests and one that failed outside of tests", () => {
    write("packages/broken/.reports/vitest.json", "{");
    const folders = [
      join(root, "packages/missing"),
      join(root, "packages/broken"),
      report("empty", { numTotalTests: 0, numPassedTests: 0 }),
      report("unhandled", { success: false }),
    ];
    const total = summarize(folders);
    expect(total.failed).toBe(4);
    expect(total.problems).toHaveLength(4);
    expect(closingLine(total)).toBe("3 passed, 4 failed");
  });
});
