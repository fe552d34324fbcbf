import { readFileSync } from "node:fs";
import { join } from "node:path";
import { proxyConfigSchema } from "@x/proxy-dataplane";
import { expect, test } from "vitest";
import { SimError } from "../src/errors.ts";
import { defaultScenarioFile, loadScenario, validateScenario } from "../src/experiment/scenario.ts";

interface ConfigSchema {
  readonly properties: { readonly version: object };
  readonly required: readonly string[];
}

test("an empty scenario is the defaults", () => {
  const scenario = validateScenario({});
  expect(scenario).toMatchObject({ machine: "server-2s", seed: 1, threads: [], events: [], kernel: { hz: 1000 } });
  expect(scenario.traffic.packetsPerSecond).toBeGreaterThan(0);
});

test("validation leaves the value it was given alone", () => {
  const value = {};
  validateScenario(value);
  expect(value).toEqual({});
});

test("what the command line says stands before what the file says", () => {
  const scenario = loadScenario(defaultScenarioFile, { seed: 9, cpus: 3, machine: "laptop", pcap: "x.pcap" });
  expect(scenario).toMatchObject({ seed: 9, cpus: 3, machine: "laptop" });
  expect(scenario.traffic.pcap).toMatch(/x\.pcap$/);
});

test("the schema knows every member of the proxy's configuration, and no other", () => {
  const file = join(import.meta.dirname, "../schema/scenario.schema.json");
  const { definitions } = JSON.parse(readFileSync(file, "utf8")) as { definitions: { config: object } };
  const { $schema: _, title: __, ...own } = proxyConfigSchema() as { $schema: string; title: string } & ConfigSchema;
  const { version: ___, ...properties } = own.properties;
  const required = own.required.filter((name) => name !== "version");
  expect(definitions.config).toEqual({ ...own, properties, required, description: expect.any(String) });
});

test("rules of a scenario are checked with their place, and servers must have addresses", () => {
  const server = { type: "socks5", address: "192.0.2.1", port: 1080 };
  const problem = (config: object): string | undefined => {
    try {
      validateScenario({ proxy: { config: { selection: "maglev", servers: [server], ...config } } });
      return undefined;
    } catch (error) {
      return error instanceof SimError ? error.location.path : "not a SimError";
    }
  };
  expect(problem({ rules: [{ action: "drop", source: ["10.0.0.0/8"] }] })).toBeUndefined();
  expect(problem({ rules: [{ action: "drop", source: ["10.0.0.0/99"] }] })).toBe("/proxy/config/rules/0/source/0");
  expect(problem({ servers: [{ ...server, address: "proxy.test" }] })).toBe("/proxy/config/servers/0/address");
});
