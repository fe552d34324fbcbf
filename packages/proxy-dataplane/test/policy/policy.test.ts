import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  compilePolicy,
  FlowFacts,
  parseAddress,
  routeAction,
  routeGroup,
  routeRule,
  type AddressClass,
  type Policy,
  type ProxyConfig,
  type ProxyRule,
} from "@x/proxy-dataplane";
import { inClass, NAMES, naiveRoute, type Flow } from "./naive.ts";

const SERVER = { type: "socks5", address: "192.0.2.1", port: 1080, groups: ["eu", "us"] } as const;
const configOf = (rules: readonly ProxyRule[], more: Partial<ProxyConfig> = {}): ProxyConfig => ({
  version: 1,
  selection: "round-robin",
  servers: [SERVER],
  rules,
  ...more,
});

const FLOW: Flow = { source: "10.0.0.1", sourcePort: 4000, destination: "198.51.100.7", port: 443, protocol: 6 };

function keyOf(flow: Flow): Int32Array {
  const key = new Int32Array(10);
  const source = parseAddress(flow.source, key, 0);
  if (flow.destination !== undefined) parseAddress(flow.destination, key, 4);
  key[8] = (flow.sourcePort << 16) | flow.port;
  key[9] = flow.protocol | (source === 6 ? 0x100 : 0);
  return key;
}

function route(policy: Policy, flow: Flow): { rule: number; action: string } {
  const facts = new FlowFacts();
  facts.setName(flow.name ?? "");
  facts.user = flow.user;
  facts.process = flow.process;
  facts.nameOnly = flow.destination === undefined;
  const decision = policy.route(keyOf(flow), 0, facts);
  return { rule: routeRule(decision), action: NAMES[routeAction(decision)] };
}

const small4 = fc
  .tuple(fc.constantFrom(10, 127, 198, 224), fc.nat(2), fc.nat(1), fc.nat(3))
  .map((octets) => octets.join("."));
const wide4 = fc.ipV4();
const ipv4 = fc.oneof(small4, wide4);
const small6 = fc
  .tuple(fc.constantFrom("2001:db8", "fe80", "fc00"), fc.nat(3), fc.nat(3))
  .map(([head, a, b]) => `${head}::${a}:${b}`);
const ipv6 = fc.oneof(
  small6,
  small4.map((address) => `::ffff:${address}`),
);
const network4 = fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })).map(([address, bits]) => `${address}/${bits}`);
const network6 = fc.oneof(
  fc.tuple(small6, fc.integer({ min: 0, max: 128 })).map(([address, bits]) => `${address}/${bits}`),
  fc.tuple(small4, fc.integer({ min: 96, max: 128 })).map(([address, bits]) => `::ffff:${address}/${bits}`),
);
const network = fc.oneof(network4, network4, network6, ipv4);
const port = fc.oneof(fc.constantFrom(0, 22, 80, 443, 65535), fc.nat(65535));
const portRange = fc.tuple(port, port).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
const ports = fc.oneof(port, portRange);
const label = fc.constantFrom("a", "b", "www", "com");
const hostName = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
const hostPattern = fc.oneof(
  hostName,
  hostName.map((name) => `*.${name}`),
  hostName.map((name) => name.toUpperCase()),
  fc.constant("*"),
);
const addressClass = fc.constantFrom<AddressClass>("loopback", "local", "private", "link-local", "multicast", "public");
const path = fc.constantFrom("/bin/a", "/bin/a/b", "/bin/ab", "/bin", "/");
const listOf = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { minLength: 1, maxLength: 4 });

const processConditions = fc.record(
  {
    pid: listOf(fc.nat(4)),
    uid: listOf(fc.nat(4)),
    gid: listOf(fc.nat(4)),
    comm: listOf(fc.constantFrom("curl", "ssh")),
    path: listOf(fc.oneof(path, fc.constant("/bin/*"), fc.constant("/bin/a/*"))),
    cgroup: listOf(path),
  },
  { requiredKeys: [] },
);
const rule: fc.Arbitrary<ProxyRule> = fc.record(
  {
    action: fc.constantFrom("proxy", "direct", "reject", "drop"),
    source: listOf(network),
    destination: listOf(network),
    classes: listOf(addressClass),
    sourcePorts: listOf(ports),
    ports: listOf(ports),
    protocols: listOf(fc.constantFrom<"tcp" | "udp" | "icmp" | number>("tcp", "udp", "icmp", 47)),
    hosts: listOf(hostPattern),
    users: listOf(fc.constantFrom("ann", "bob", "*")),
    process: processConditions,
  },
  { requiredKeys: ["action"] },
);
/** Few conditions a rule, or none would ever hold. */
const sparseRule = fc
  .tuple(rule, fc.array(fc.nat(8), { minLength: 1, maxLength: 2 }))
  .map(([full, keep]): ProxyRule => {
    const entries = Object.entries(full).filter(([name]) => name !== "action");
    const kept = entries.filter((_, index) => keep.some((one) => one % entries.length === index));
    return { ...Object.fromEntries(kept), action: full.action };
  });
const config: fc.Arbitrary<ProxyConfig> = fc
  .record(
    {
      rules: fc.oneof(fc.array(sparseRule, { maxLength: 12 }), fc.array(sparseRule, { minLength: 30, maxLength: 80 })),
      defaultAction: fc.constantFrom("proxy", "direct", "reject", "drop"),
      protocols: fc.constantFrom(["tcp"], ["udp"], ["tcp", "udp"], []),
      ports: listOf(ports),
      bypass: listOf(network),
      bypassClasses: fc.array(addressClass, { maxLength: 3 }),
    },
    { requiredKeys: ["rules"] },
  )
  .map((parts) => configOf([], parts as Partial<ProxyConfig>));
const common = {
  sourcePort: port,
  port,
  protocol: fc.constantFrom(6, 6, 17, 1, 47),
  name: fc.option(hostName, { nil: undefined }),
  user: fc.option(fc.constantFrom("ann", "bob", "eve"), { nil: undefined }),
  process: fc.option(
    fc.record(
      { pid: fc.nat(4), uid: fc.nat(4), gid: fc.nat(4), comm: fc.constantFrom("curl", "ssh"), path, cgroup: path },
      { requiredKeys: [] },
    ),
    { nil: undefined },
  ),
};
const flow: fc.Arbitrary<Flow> = fc.oneof(
  fc.record({ ...common, source: ipv4, destination: fc.oneof(ipv4, ipv4, fc.constant(undefined)) }),
  fc.record({ ...common, source: ipv6, destination: ipv6 }),
);

describe("rules", () => {
  test("decide as reading them one after another does, for any configuration and flow", () => {
    let ruled = 0;
    fc.assert(
      fc.property(config, fc.array(flow, { minLength: 10, maxLength: 20 }), (some, flows) => {
        const policy = compilePolicy(some);
        for (const one of flows) {
          const expected = naiveRoute(some, one);
          expect(route(policy, one)).toEqual(expected);
          if (expected.rule >= 0) ruled++;
        }
      }),
      { numRuns: 150 },
    );
    // The property says little of rules if none ever holds.
    expect(ruled).toBeGreaterThan(300);
  });

  test("hold in the order of the list, also beyond 32 and 1024 of them", () => {
    for (const count of [1, 31, 32, 33, 1024, 1025, 2100]) {
      const rules = Array.from({ length: count }, (_, i): ProxyRule => ({
        action: "drop",
        destination: [`10.${i >> 8}.${i & 255}.0/24`],
      }));
      const policy = compilePolicy(configOf([...rules, { action: "reject", destination: ["10.0.0.0/8"] }]));
      for (const i of new Set([0, count - 1, count >> 1])) {
        const destination = `10.${i >> 8}.${i & 255}.9`;
        expect(route(policy, { ...FLOW, destination })).toEqual({ rule: i, action: "drop" });
      }
      expect(route(policy, { ...FLOW, destination: "10.255.0.1" })).toEqual({ rule: count, action: "reject" });
      expect(route(policy, { ...FLOW, destination: "11.0.0.0" })).toEqual({ rule: -1, action: "proxy" });
    }
  });

  test("name a group of servers", () => {
    const policy = compilePolicy(
      configOf([
        { action: "proxy", ports: [443], group: "us" },
        { action: "proxy", ports: [80], group: "eu" },
        { action: "proxy", ports: [22] },
      ]),
    );
    const group = (port: number): number => routeGroup(policy.route(keyOf({ ...FLOW, port }), 0));
    expect([443, 80, 22, 23].map(group)).toEqual([2, 1, 0, 0]);
  });

  test("about names look at whole labels", () => {
    const policy = compilePolicy(
      configOf([{ action: "drop", hosts: ["*.example.com", "one.test"] }], { defaultAction: "direct" }),
    );
    const action = (name: string): string => route(policy, { ...FLOW, name }).action;
    expect(["a.example.com", "A.B.EXAMPLE.COM.", "one.test"].map(action)).toEqual(["drop", "drop", "drop"]);
    const others = [
      "example.com",
      "badexample.com",
      "x.one.test",
      "com",
      "",
      ".",
      "..",
      "a.example.com.evil",
      "é.test",
    ];
    expect(others.map(action)).toEqual(others.map(() => "direct"));
    expect(action(`${"a.".repeat(200)}example.com`)).toBe("direct");
  });

  test("about what is not known do not hold", () => {
    const rules: ProxyRule[] = [
      { action: "drop", hosts: ["*"] },
      { action: "drop", users: ["*"] },
      { action: "drop", process: { uid: [0] } },
    ];
    expect(route(compilePolicy(configOf(rules)), FLOW)).toEqual({ rule: -1, action: "proxy" });
  });

  test("of a destination known by name alone leave its address out", () => {
    const rules: ProxyRule[] = [
      { action: "drop", destination: ["0.0.0.0/0"] },
      { action: "reject", hosts: ["a.test"] },
    ];
    const policy = compilePolicy(configOf(rules));
    expect(route(policy, { ...FLOW, destination: undefined, name: "a.test" })).toEqual({ rule: 1, action: "reject" });
    expect(route(policy, { ...FLOW, destination: undefined, name: "b.test" })).toEqual({ rule: -1, action: "proxy" });
  });
});

describe("bypass", () => {
  test("spares what is local or multicast unless told otherwise, and obeys rules that block", () => {
    const action = (more: Partial<ProxyConfig>, destination: string): string =>
      route(compilePolicy(configOf([], more)), { ...FLOW, destination }).action;
    const all = ["127.0.0.1", "0.1.2.3", "224.0.0.251", "10.1.1.1", "169.254.1.1", "198.51.100.1"];
    expect(all.map((one) => action({}, one))).toEqual(["direct", "direct", "direct", "proxy", "proxy", "proxy"]);
    const other: Partial<ProxyConfig> = { bypassClasses: ["private", "link-local"] };
    expect(all.map((one) => action(other, one))).toEqual(["proxy", "proxy", "proxy", "direct", "direct", "proxy"]);
    expect(action({ rules: [{ action: "drop", classes: ["loopback"] }] }, "127.9.9.9")).toBe("drop");
    expect(action({ rules: [{ action: "proxy" }] }, "127.9.9.9")).toBe("direct");
  });

  test("classes partition addresses as their definition says", () => {
    const names: AddressClass[] = ["loopback", "local", "private", "link-local", "multicast", "public"];
    for (const name of names) {
      const policy = compilePolicy(configOf([{ action: "drop", classes: [name] }], { defaultAction: "direct" }));
      fc.assert(
        fc.property(fc.oneof(ipv4, ipv6), (destination) => {
          const source = destination.includes(":") ? "2001:db8::1" : FLOW.source;
          expect(route(policy, { ...FLOW, source, destination }).action === "drop").toBe(inClass(destination, name));
        }),
        { numRuns: 100 },
      );
    }
  });
});
