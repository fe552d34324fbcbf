import { mergeConfig } from "vitest/config";
import base from "./vitest.config.ts";

// Tests against real programs, run by tools/real/run.mjs.
const config = mergeConfig(base, {
  test: {
    testTimeout: 300_000,
    hookTimeout: 300_000,
    outputFile: { json: ".reports/real.json" },
  },
});
config.test.include = ["test-real/**/*.test.ts"];
export default config;
