// The published packages as users get them: packed, linted (publint, attw), installed from the tarballs in an empty folder, imported and
// type-checked. Needs a build; reaches no registry.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contentProblems, execute, installProblems, packAll } from "./lib/pack.mjs";
import { finish } from "./lib/report.mjs";
import { repository } from "./lib/workspace.mjs";

const scratch = mkdtempSync(join(tmpdir(), "tarballs-"));
try {
  finish("packages", check());
} finally {
  rmSync(scratch, { recursive: true });
}

function check() {
  const tarballs = join(scratch, "tarballs");
  const project = join(scratch, "project");
  for (const folder of [tarballs, project]) mkdirSync(folder);

  const { packed, problems } = packAll(repository, tarballs);
  for (const item of packed) {
    problems.push(...contentProblems(item));
    const linters = [
      ["publint", "publint/src/cli.js", "run", item.tarball, "--strict"],
      ["attw", "@arethetypeswrong/cli/dist/index.js", item.tarball, "--profile", "esm-only"],
    ];
    for (const [linter, program, ...parameters] of linters) {
      const { problem } = execute(
        process.execPath,
        [join(repository, "node_modules", program), ...parameters],
        repository,
      );
      if (problem !== undefined) problems.push(`${item.name}: ${linter}: ${problem}`);
    }
    console.log(`${item.name}: ${item.files.length} files packed and linted`);
  }
  if (packed.length === 0) return [...problems, "no package was packed"];
  return [...problems, ...installProblems(packed, project, repository)];
}
