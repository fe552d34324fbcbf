import { collapsePerfScript } from "@x/profiling";
import { Command, Option } from "commander";
import { inFile, print, readInput } from "./input.ts";

interface ConvertOptions {
  readonly from: "perf-script";
  readonly to: "collapsed";
  readonly all?: boolean;
  readonly addrs?: boolean;
  readonly kernel?: boolean;
  readonly pid?: boolean;
  readonly tid?: boolean;
  readonly jit?: boolean;
}

/** `kernel-sim convert FILE --from perf-script --to collapsed`. */
export function convertCommand(): Command {
  return new Command("convert")
    .description("convert profiles: the text of perf script to collapsed stacks")
    .argument("<file>", "the profile")
    .addOption(new Option("--from <format>").choices(["perf-script"]).default("perf-script"))
    .addOption(new Option("--to <format>").choices(["collapsed"]).default("collapsed"))
    .option("--all", "annotate kernel and jit frames")
    .option("--addrs", "include addresses where there is no symbol")
    .option("--kernel", "annotate kernel functions with _[k]")
    .option("--pid", "put the process id behind the command name")
    .option("--tid", "put process and thread ids behind the command name")
    .option("--jit", "annotate jit functions with _[j]")
    .addHelpText("after", "\nExample:\n  perf script > perf.txt; kernel-sim convert perf.txt > perf.folded")
    .action((file: string, { from: _from, to: _to, ...options }: ConvertOptions) => {
      const text = Buffer.from(readInput(file)).toString("utf8");
      const { lines, problems } = inFile(file, () => collapsePerfScript(text, options));
      for (const { line, message } of problems) process.stderr.write(`${file}: line ${line}: ${message}\n`);
      print(lines.join("\n"));
    });
}
