import { describe } from "vitest";

// The engine that runs everywhere, also where `auto` is another.
process.env["RELAY_ENGINE"] = "node";
describe("node engine", async () => {
  await import("./proxy.test.ts");
});
