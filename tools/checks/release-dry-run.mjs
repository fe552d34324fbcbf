// `pnpm release:dry-run`: everything a release does, in a throw-away clone of the committed state, except to publish. Needs a build.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { releaseProblems } from "./lib/release.mjs";
import { finish } from "./lib/report.mjs";
import { repository } from "./lib/workspace.mjs";

const scratch = mkdtempSync(join(tmpdir(), "release-"));
try {
  finish(
    "release dry run",
    releaseProblems(repository, join(scratch, "clone"), (line) => console.log(line)),
  );
} finally {
  rmSync(scratch, { recursive: true });
}
