import { expect, test } from "vitest";
import { defaultScenarioFile, loadScenario, validateScenario } from "../src/experiment/scenario.ts";

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
