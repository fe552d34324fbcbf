import { describe, expect, it } from "vitest";
import { contentProblems, entryPoints, lastLines } from "../lib/pack.mjs";
import { manifestProblems, workflowProblems } from "../lib/release.mjs";

const manifest = {
  name: "@x/a",
  license: "MIT",
  description: "A package.",
  engines: { node: ">=20.19" },
  exports: {
    ".": { "@x/source": "./src/index.ts", types: "./dist/index.d.ts", default: "./dist/index.js" },
    "./node": { "@x/source": "./src/node.ts", types: "./dist/node.d.ts", default: "./dist/node.js" },
    "./package.json": "./package.json",
  },
  repository: { type: "git", url: "git+https://example.org/a.git", directory: "packages/a" },
  publishConfig: { access: "public", provenance: true },
};
const files = ["package.json", "README.md", "LICENSE"];
for (const name of ["index", "node"]) files.push(`src/${name}.ts`, `dist/${name}.d.ts`, `dist/${name}.js`);

describe("a tarball", () => {
  it("is right when it holds what the exports name, README and licence, and no more than the sources beside", () => {
    expect(contentProblems({ name: "@x/a", tarball: "", files, manifest })).toEqual([]);
  });
  it("is wrong without its build or with tests, reports or the compiler's notes", () => {
    const wrong = [
      ...files.filter((path) => path !== "dist/node.js" && path !== "LICENSE"),
      "test/a.test.ts",
      "dist/.tsbuildinfo",
    ];
    expect(contentProblems({ name: "@x/a", tarball: "", files: wrong, manifest })).toEqual([
      "@x/a: LICENSE is missing from the tarball",
      "@x/a: dist/node.js is missing from the tarball",
      "@x/a: test/a.test.ts does not belong into the tarball",
      "@x/a: dist/.tsbuildinfo does not belong into the tarball",
    ]);
  });
  it("offers the entry points that its exports name", () => {
    expect(entryPoints({ name: "@x/a", tarball: "", files, manifest })).toEqual(["@x/a", "@x/a/node"]);
  });
});

describe("a release", () => {
  const item = { name: "@x/a", path: "packages/a", folder: "/", manifest };
  it("can be attested when the manifest names repository, folder and provenance", () => {
    expect(manifestProblems([item])).toEqual([]);
  });
  it("cannot when one of them is missing or wrong", () => {
    const elsewhere = {
      ...manifest,
      publishConfig: {},
      repository: { ...manifest.repository, directory: "packages/b" },
    };
    expect(manifestProblems([{ ...item, manifest: elsewhere }])).toEqual([
      "@x/a: publishConfig.provenance must be true",
      "@x/a: publishConfig.access must be «public»",
      "@x/a: repository.directory must be «packages/a»",
    ]);
    const other = {
      ...item,
      name: "@x/b",
      manifest: { ...manifest, repository: { ...manifest.repository, url: "git+https://example.org/b.git" } },
    };
    expect(manifestProblems([item, other])[0]).toMatch("2 different repositories");
  });
  it("needs a workflow with an identity token, provenance, and the release script", () => {
    const workflow =
      "permissions:\n  id-token: write # signs\nsteps:\n  - uses: changesets/action@v1\n    with:\n      publish: pnpm run release\n    env:\n      NPM_CONFIG_PROVENANCE: true\n";
    expect(workflowProblems(workflow)).toEqual([]);
    expect(workflowProblems(workflow.replace("write", "read"))).toHaveLength(1);
    expect(workflowProblems("")).toHaveLength(4);
  });
});

it("the end of a long output is what is shown", () => {
  const text = Array.from({ length: 40 }, (_, i) => `line ${i}`).join("\n");
  expect(lastLines(text).split("\n")).toHaveLength(12);
  expect(lastLines(text)).toContain("line 39");
});
