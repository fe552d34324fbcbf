// Style that is decided is executed: banned constructs with their replacement, and no file beyond a size that can be read.
import { finish } from "./lib/report.mjs";
import { tidyProblems } from "./lib/tidy-rules.mjs";
import { repository } from "./lib/workspace.mjs";

finish("tidy", tidyProblems(process.argv[2] ?? repository));
