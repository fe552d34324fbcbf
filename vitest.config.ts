import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

interface Manifest {
  name: string;
  exports?: Record<string, string | { "@x/source": string }>;
}

/**
 * Every entry point of every package, led to its source. Not by `resolve.conditions`: vitest hands those to its processes as `--conditions`, worker
 * threads inherit them, and the plain `.mjs` fixtures of tests on real threads would load TypeScript sources in place of the built packages.
 */
function sourceAliases(): { find: RegExp; replacement: string }[] {
  return ["packages", "apps", "tools"].flatMap((group) =>
    readdirSync(join(import.meta.dirname, group)).flatMap((name) => {
      const folder = join(import.meta.dirname, group, name);
      if (!existsSync(join(folder, "package.json"))) return [];
      const manifest: Manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      return Object.entries(manifest.exports ?? {}).flatMap(([subpath, target]) => {
        if (typeof target === "string") return [];
        const specifier = manifest.name + subpath.slice(1);
        return [{ find: new RegExp(`^${specifier}$`), replacement: join(folder, target["@x/source"]) }];
      });
    }),
  );
}

// One configuration for every package: each runs `vitest run --config ../../vitest.config.ts` from its own folder.
export default defineConfig({
  resolve: { alias: sourceAliases() },
  test: {
    root: process.cwd(),
    include: ["test/**/*.test.ts"],
    setupFiles: [join(import.meta.dirname, "vitest.setup.ts")],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default", "json"],
    outputFile: { json: ".reports/vitest.json" },
    coverage: { provider: "v8", include: ["src/**"] },
  },
});
