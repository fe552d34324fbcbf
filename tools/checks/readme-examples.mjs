// Runs the ```js examples of every package's README against its build.
import { exampleProblems } from "./lib/examples.mjs";
import { finish } from "./lib/report.mjs";
import { repository } from "./lib/workspace.mjs";

finish("README examples", exampleProblems(process.argv[2] ?? repository, { log: (line) => console.log(line) }));
