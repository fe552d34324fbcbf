// Runs api-extractor once for every entry point of the package in the current folder; `--local` rewrites etc/*.api.md.
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Extractor, ExtractorConfig } from "@microsoft/api-extractor";

const folder = process.cwd();
const local = process.argv.includes("--local");
const pkg = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const base = ExtractorConfig.loadFile(join(folder, "../../api-extractor.base.json"));

/** Entry points by report name: `smp`, `smp.acpi`, … */
const entries = Object.entries(pkg.exports)
  .filter(([, target]) => typeof target === "object")
  .map(([key, target]) => [[basename(pkg.name), ...key.split("/").slice(1)].join("."), target.types]);

let failed = false;
for (const [report, types] of entries) {
  const mainEntryPointFilePath = join(folder, types);
  if (!existsSync(mainEntryPointFilePath)) throw new Error(`${mainEntryPointFilePath} is missing; build first`);
  const config = ExtractorConfig.prepare({
    configObject: {
      ...base,
      projectFolder: folder,
      mainEntryPointFilePath,
      apiReport: { ...base.apiReport, reportFileName: `${report}.api.md` },
      messages: report.includes(".") ? withSharedClasses(base.messages) : base.messages,
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: join(folder, "package.json"),
  });
  const result = Extractor.invoke(config, { localBuild: local, showVerboseMessages: false });
  if (!result.succeeded) failed = true;
}
process.exit(failed ? 1 : 0);

/** A second entry point repeats declarations of the first: they are no forgotten exports. */
function withSharedClasses(messages) {
  return {
    ...messages,
    extractorMessageReporting: {
      ...messages.extractorMessageReporting,
      "ae-forgotten-export": { logLevel: "none", addToApiReportFile: false },
    },
  };
}
