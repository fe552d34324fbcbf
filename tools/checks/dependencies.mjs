// Dependencies point one way only, imports use public entry points, and whatever needs Node sits behind «./node».
import { dependencyProblems } from "./lib/dependency-rules.mjs";
import { finish } from "./lib/report.mjs";
import { repository } from "./lib/workspace.mjs";

finish("dependency direction", dependencyProblems(process.argv[2] ?? repository));
