import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allowedFor, dependencyProblems, layers } from "../lib/dependency-rules.mjs";
import { exampleProblems, jsFences } from "../lib/examples.mjs";
import { importsOf, only } from "../lib/source.mjs";
import { fileProblems, maxLines } from "../lib/tidy-rules.mjs";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "checks-"));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(name: string, text: string): void {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), text);
}

/** A package with an entry point, a Node entry point and the given source. */
function writePackage(name: string, source: string, manifest: object = {}, references: string[] = []): void {
  const entry = (file: string): object => ({ "@x/source": `./src/${file}.ts`, default: `./dist/${file}.js` });
  const exports = { ".": entry("index"), "./node": entry("node"), "./package.json": "./package.json" };
  write(`packages/${name}/package.json`, JSON.stringify({ name: `@x/${name}`, exports, ...manifest }));
  write(`packages/${name}/tsconfig.build.json`, JSON.stringify({ references: references.map((path) => ({ path })) }));
  write(`packages/${name}/src/index.ts`, source);
  write(`packages/${name}/src/node.ts`, 'import { readFileSync } from "node:fs";\nexport { readFileSync };\n');
}
const onSmp = { dependencies: { "@x/smp": "workspace:^" } };
const toSmp = ["../smp/tsconfig.build.json"];

describe("the lexer", () => {
  it("tells code from comments, strings, templates and regular expressions", () => {
    const source = "a('//b', `c${d(\"e\")}f`, /g\"'`/); // h\n/* i */ j / k / l";
    expect(
      only(source, ["comment"])
        .trim()
        .split(/\s{2,}|\n/)
        .map((s: string) => s.trim()),
    ).toEqual(["// h", "/* i */"]);
    expect(only(source, ["code"]).replace(/\s+/g, " ")).toBe("a( , d( ) , ); j / k / l");
  });
  it("finds every kind of import and no import in a comment or a string", () => {
    const source = [
      'import a from "a";',
      'import type { B } from "b";',
      "import {\n  c,\n  d,\n} from 'c';",
      'import "e";',
      'export * from "f";',
      'const g = await import("g");',
      '/** import h from "h"; */',
      'const text = `\nimport i from "i";\n`;',
      'export const from = "j";',
    ].join("\n");
    expect(importsOf(source).map(({ specifier, line, typeOnly }) => `${specifier} ${line} ${typeOnly}`)).toEqual([
      "a 1 false",
      "b 2 true",
      "c 3 false",
      "e 7 false",
      "f 8 false",
      "g 9 false",
    ]);
  });
});

describe("the dependency direction", () => {
  it("is a graph without cycles in which every package reaches smp", () => {
    for (const name of Object.keys(layers)) {
      const allowed = allowedFor(name, layers);
      expect(allowed.has(name)).toBe(false);
      if (name !== "@x/smp") expect(allowed.has("@x/smp")).toBe(true);
    }
    expect([...allowedFor("@x/slab", layers)].sort()).toEqual(["@x/numa", "@x/smp"]);
  });
  it("accepts public imports of what lies below", () => {
    writePackage("smp", "export const smp = 1;");
    writePackage("numa", 'export { smp } from "@x/smp";', onSmp, toSmp);
    expect(dependencyProblems(root)).toEqual([]);
  });
  it("refuses a dependency upwards, in package.json and in an import", () => {
    writePackage("smp", 'import { numa } from "@x/numa";', { devDependencies: { "@x/numa": "workspace:^" } });
    writePackage("numa", "export const numa = 1;");
    expect(dependencyProblems(root)).toEqual([
      "packages/smp/package.json: @x/smp must not depend on @x/numa",
      "packages/smp/src/index.ts:1: @x/smp must not use @x/numa",
    ]);
  });
  it("refuses another package's internals, by subpath and by relative path", () => {
    writePackage("smp", "export const smp = 1;");
    writePackage(
      "numa",
      '\nimport "@x/smp/src/hal.ts";\nimport "../../smp/src/hal.ts";\nimport "../test/helper.ts";',
      onSmp,
      toSmp,
    );
    expect(dependencyProblems(root)).toEqual([
      "packages/numa/src/index.ts:2: «@x/smp/src/hal.ts» is no public entry point of @x/smp",
      "packages/numa/src/index.ts:3: «../../smp/src/hal.ts» leaves the package; import the other package by its name",
      "packages/numa/src/index.ts:4: «../test/helper.ts» leaves src, which is all that is published as source",
    ]);
  });
  it("asks for what is imported to be declared, and for references to follow package.json", () => {
    writePackage("smp", 'import "left-pad";');
    writePackage("numa", 'import "@x/smp";', {}, toSmp);
    writePackage("profiling", "", onSmp);
    expect(dependencyProblems(root)).toEqual([
      "packages/numa/tsconfig.build.json: references @x/smp, which package.json does not depend on",
      "packages/numa/src/index.ts:1: @x/smp is not among the dependencies of @x/numa",
      "packages/profiling/tsconfig.build.json: no reference to @x/smp, which package.json depends on",
      "packages/smp/src/index.ts:1: left-pad is not among the dependencies of @x/smp",
    ]);
  });
  it("keeps Node out of what a browser loads, through any number of files, types aside", () => {
    writePackage("smp", 'export * from "./a.ts";\nimport type { Worker } from "node:worker_threads";');
    write("packages/smp/src/a.ts", 'export * from "./b.ts";');
    write("packages/smp/src/b.ts", '\nimport fs from "fs";');
    expect(dependencyProblems(root)).toEqual([
      "packages/smp/src/b.ts:2: «fs» is for Node only, but @x/smp reaches it from «.»; put it behind «./node»",
    ]);
  });
  it("asks for a place in the graph for a new package", () => {
    writePackage("surprise", "");
    expect(dependencyProblems(root)[0]).toMatch("@x/surprise has no place in the dependency graph");
  });
});

describe("tidiness", () => {
  it("bans clocks and randomness in library code, with the line and the replacement", () => {
    expect(fileProblems("packages/slab/src/a.ts", "\nconst t = Date.now();\nconst r = Math.random();\n")).toEqual([
      "packages/slab/src/a.ts:3: «Math.random»: take numbers from a seeded generator that is passed in",
      "packages/slab/src/a.ts:2: «Date.now»: ask hal.now()",
    ]);
  });
  it("allows them where they belong, and in comments and strings", () => {
    expect(fileProblems("packages/smp/src/worker-hal.ts", "performance.now();")).toEqual([]);
    expect(fileProblems("packages/slab/bench/a.bench.mjs", "Math.random();")).toEqual([]);
    expect(fileProblems("packages/slab/src/a.ts", '// not Date.now()\nconst a = "Math.random";')).toEqual([]);
  });
  it("finds unfinished work in comments only", () => {
    const marker = ["TO", "DO"].join("");
    expect(fileProblems("tools/a.mjs", `// ${marker}: finish`)).toHaveLength(1);
    expect(fileProblems("tools/a.mjs", `const ${marker} = 1;`)).toEqual([]);
  });
  it("finds files that have grown too long", () => {
    expect(fileProblems("tools/a.mjs", "\n".repeat(maxLines))).toEqual([]);
    expect(fileProblems("tools/a.mjs", "\n".repeat(maxLines + 1))).toHaveLength(1);
  });
});

describe("README examples", () => {
  const fence = "```";
  it("are the js fences, with their lines", () => {
    const text = [
      `${fence}sh`,
      "npm i",
      fence,
      "",
      `${fence}js`,
      "a();",
      "b();",
      fence,
      `${fence}ts`,
      "c();",
      fence,
    ].join("\n");
    expect(jsFences(text)).toEqual([{ line: 5, code: "a();\nb();" }]);
  });
  it("run in the package and may import it by name", () => {
    writePackage("smp", "", { type: "module" });
    write("packages/smp/dist/index.js", "export const answer = 42;");
    write("packages/smp/README.md", `${fence}js\nimport { answer } from "@x/smp";\nconsole.log(answer);\n${fence}\n`);
    expect(exampleProblems(root)).toEqual([]);
  });
  it("fail when they throw, print nothing, hang or are not there", () => {
    for (const name of ["a", "b", "c", "d"]) {
      writePackage(name, "", { type: "module" });
      write(`packages/${name}/dist/index.js`, "");
    }
    write("packages/a/README.md", `\n${fence}js\nthrow new Error("broken");\n${fence}\n`);
    write("packages/b/README.md", `${fence}js\nconst quiet = 1;\n${fence}\n`);
    write("packages/c/README.md", `${fence}js\nsetInterval(() => {}, 1000);\n${fence}\n`);
    write("packages/d/README.md", "no example\n");
    const problems = exampleProblems(root, { timeoutMs: 1500 });
    expect(problems).toHaveLength(4);
    expect(problems[0]).toMatch(/^packages\/a\/README\.md:2: ended with status 1: [^]*Error: broken/);
    expect(problems[1]).toBe("packages/b/README.md:1: printed nothing");
    expect(problems[2]).toMatch(/^packages\/c\/README\.md:1: did not end/);
    expect(problems[3]).toBe("packages/d/README.md: no ```js example");
  });
});
