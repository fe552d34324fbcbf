import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_DNS } from "../../src/relay/config.ts";
import { relayConfigSchema } from "../../src/relay/config-shape.ts";
import type { RelayConfig } from "../../src/relay/config.ts";
import { validateRelayConfig } from "../../src/relay/config-validate.ts";
import { listenEndpoint } from "../../src/relay/endpoints-text.ts";
import { InputBuffer } from "../../src/relay/input-buffer.ts";
import { TargetGuard } from "../../src/relay/networks.ts";
import { order, Resolver, type LookupCallback } from "../../src/relay/resolver.ts";
import { Timed, TimerWheel } from "../../src/relay/timer-wheel.ts";

class Alarm extends Timed {
  fired = 0;
  onDeadline(): void {
    this.fired++;
  }
}

test("the wheel calls each once, in its tick, as a sorted list would", () => {
  const step = fc.oneof(
    fc.record({ what: fc.constant("set"), alarm: fc.nat(9), ticks: fc.integer({ min: 0, max: 2500 }) }),
    fc.record({ what: fc.constant("clear"), alarm: fc.nat(9), ticks: fc.constant(0) }),
    fc.record({ what: fc.constant("advance"), alarm: fc.constant(0), ticks: fc.integer({ min: 1, max: 1500 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const wheel = new TimerWheel(10);
      const alarms = Array.from({ length: 10 }, () => new Alarm());
      const model = alarms.map(() => ({ due: 0, fired: 0 }));
      let now = 0;
      for (const { what, alarm, ticks } of steps) {
        if (what === "set") {
          wheel.set(alarms[alarm], ticks * 10);
          model[alarm].due = now + Math.max(1, ticks);
        } else if (what === "clear") {
          wheel.clear(alarms[alarm]);
          model[alarm].due = 0;
        } else {
          for (let tick = 0; tick < ticks; tick++) {
            wheel.advance();
            now++;
            for (const each of model) {
              if (each.due !== now) continue;
              each.due = 0;
              each.fired++;
            }
          }
        }
        expect(alarms.map(({ fired }) => fired)).toEqual(model.map(({ fired }) => fired));
        expect(wheel.size).toBe(model.filter(({ due }) => due > 0).length);
      }
    }),
    { numRuns: 30 },
  );
});

test("input is a queue of bytes with a limit", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.nat(300))), (steps) => {
      const input = new InputBuffer();
      let model: number[] = [];
      for (const [added, consumed] of steps) {
        const fits = model.length + added.length <= 1000;
        expect(input.append(added, 0, added.length, 1000)).toBe(fits);
        if (fits) model.push(...added);
        const count = Math.min(consumed, model.length);
        input.consume(count);
        model = model.slice(count);
        expect([...input.bytes.subarray(input.from, input.to)]).toEqual(model);
      }
    }),
  );
});

test.each([
  "127.0.0.1",
  "10.1.2.3",
  "172.31.255.255",
  "192.168.0.1",
  "169.254.169.254",
  "100.64.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::ffff:127.0.0.1",
  "::ffff:169.254.169.254",
  "::7f00:1",
  "64:ff9b::a9fe:a9fe",
  "2002:7f00:1::",
  "2002:c0a8:1::1",
  "fe80::1",
  "fd00::1",
  "ff02::1",
])("clients are not led to %s unless that is allowed", (host) => {
  expect(new TargetGuard(false, []).allows(host)).toBe(false);
  expect(new TargetGuard(true, []).allows(host)).toBe(true);
  expect(new TargetGuard(false, ["0.0.0.0/0", "::/0"]).allows(host)).toBe(true);
});

test.each(["8.8.8.8", "172.32.0.1", "192.0.2.1", "100.128.0.1", "2001:db8::1", "64:ff9b::808:808", "2002:808:808::1"])(
  "clients are led to %s",
  (host) => {
    expect(new TargetGuard(false, []).allows(host)).toBe(true);
  },
);

test("an allowed network is that network and no more", () => {
  const guard = new TargetGuard(false, ["10.1.0.0/16", "fd00::/8", "127.0.0.1"]);
  expect(["10.1.2.3", "fd12::1", "127.0.0.1", "::ffff:10.1.0.1"].map((host) => guard.allows(host))).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(["10.2.0.1", "fe80::1", "127.0.0.2"].map((host) => guard.allows(host))).toEqual([false, false, false]);
});

test("addresses take turns by family, IPv6 first", () => {
  const of = (family: 4 | 6, host: string) => ({ family, host });
  const all = [of(4, "a"), of(4, "b"), of(6, "c"), of(4, "d")];
  expect(order(all, "any").map(({ host }) => host)).toEqual(["c", "a", "b", "d"]);
  expect(order(all, "ipv4").map(({ host }) => host)).toEqual(["a", "b", "d"]);
  expect(order(all, "ipv6").map(({ host }) => host)).toEqual(["c"]);
});

test("a name is asked for once while many want it, remembered, and asked for again when that is old", () => {
  let now = 0;
  const asked: [string, LookupCallback][] = [];
  const counts = { hits: 0, lookups: 0, failures: 0 };
  const resolver = new Resolver(
    (host, callback) => void asked.push([host, callback]),
    () => now,
    { ...DEFAULT_DNS, entries: 2 },
    {
      onHit: () => counts.hits++,
      onLookup: () => counts.lookups++,
      onFailure: () => counts.failures++,
    },
  );
  const got: string[] = [];
  const want = (name: string): void =>
    resolver.resolve(name, (addresses, failure) => got.push(failure || addresses[0].host));
  want("a");
  want("A");
  expect(asked.length).toBe(1);
  asked[0][1]([{ family: 4, host: "192.0.2.1" }], "");
  want("a");
  expect(got).toEqual(["192.0.2.1", "192.0.2.1", "192.0.2.1"]);
  now = 60_001;
  want("a");
  expect(asked.length).toBe(2);
  asked[1][1]([], "");
  expect(got.at(-1)).toBe("name-not-found");
  want("b");
  want("c");
  asked[2][1]([], "name-lookup");
  asked[3][1]([{ family: 6, host: "::1" }], "");
  now += 1000;
  want("a"); // made room for the others
  expect(asked.length).toBe(5);
  expect(counts).toEqual({ hits: 1, lookups: 5, failures: 2 });
});

test.each([
  ["127.0.0.1:80", { family: 4, host: "127.0.0.1", port: 80 }],
  ["[::1]:80", { family: 6, host: "::1", port: 80 }],
  ["1080", { family: 4, host: "127.0.0.1", port: 1080 }],
  ["unix:/run/x", { family: 0, host: "/run/x", port: 0 }],
  ["localhost:80", undefined],
  ["::1:80", undefined],
  ["127.0.0.1", undefined],
  ["127.0.0.1:65536", undefined],
])("listening on %s", (text, endpoint) => {
  expect(listenEndpoint(text)).toEqual(endpoint);
});

const listeners = [{ kind: "mixed" as const, listen: "1080" }];
const udp = { kind: "udp" as const, listen: "53", target: "a:1" };
test.each([
  ["/version", { version: 2, listeners }],
  ["/listeners", { version: 1, listeners: [] }],
  ["/listeners/0/kind", { version: 1, listeners: [{ kind: "ftp", listen: "1" }] }],
  ["/listeners/0/listen", { version: 1, listeners: [{ kind: "mixed", listen: "x" }] }],
  ["/listeners/0/target", { version: 1, listeners: [{ kind: "forward", listen: "1" }] }],
  ["/listeners/0/target", { version: 1, listeners: [{ kind: "mixed", listen: "1", target: "a:1" }] }],
  ["/listeners/1", { version: 1, listeners: [...listeners, ...listeners] }],
  ["/listeners/0/x", { version: 1, listeners: [{ kind: "mixed", listen: "1", x: 1 }] }],
  ["/listeners/0/authenticate", { version: 1, listeners: [{ kind: "mixed", listen: "1", authenticate: true }] }],
  ["/timeouts/idleMs", { version: 1, listeners, timeouts: { idleMs: -1 } }],
  ["/targets/allow/0", { version: 1, listeners, targets: { allow: ["10.0.0.0/33"] } }],
  ["/workers", { version: 1, listeners, workers: 0 }],
  ["/engine", { version: 1, listeners, engine: "x" }],
  ["/users/a:b", { version: 1, listeners, users: { "a:b": "c" } }],
  ["/metrics", { version: 1, listeners, metrics: "x" }],
  ["/pcap", { version: 1, listeners, pcap: "" }],
  ["/listeners/0/target", { version: 1, listeners: [{ kind: "udp", listen: "1" }] }],
  ["/listeners/0/target", { version: 1, listeners: [{ kind: "udp", listen: "1", target: "unix:/x" }] }],
  ["/listeners/0/target", { version: 1, listeners: [{ kind: "redirect", listen: "1", target: "a:1" }] }],
  ["/listeners/0/listen", { version: 1, listeners: [{ kind: "tproxy", listen: "unix:/x" }] }],
  ["/listeners/0/sendProxyProtocol", { version: 1, listeners: [{ ...udp, sendProxyProtocol: "v2" }] }],
  [
    "/listeners/0/acceptProxyProtocol",
    { version: 1, listeners: [{ kind: "redirect", listen: "1", acceptProxyProtocol: true }] },
  ],
  ["/listeners/0/authenticate", { version: 1, users: { a: "b" }, listeners: [{ ...udp, authenticate: true }] }],
  ["/listeners/0/peek", { version: 1, listeners: [{ ...udp, peek: true }] }],
  ["/listeners/0/peek", { version: 1, listeners: [{ kind: "mixed", listen: "1", peek: 1 }] }],
  ["/limits/udpFlows", { version: 1, listeners, limits: { udpFlows: 0 } }],
  ["/limits/connectionsPerClient", { version: 1, listeners, limits: { connectionsPerClient: -1 } }],
  ["/timeouts/udpIdleMs", { version: 1, listeners, timeouts: { udpIdleMs: 0.5 } }],
])("a configuration that is wrong at %s is refused", (path, config) => {
  expect(() => validateRelayConfig(config as never)).toThrow(
    expect.objectContaining({ code: "DATAPLANE_INVALID_CONFIG", location: { path } }),
  );
});

test.each([
  { kind: "udp", listen: "127.0.0.1:53", target: "[::1]:53" },
  { kind: "redirect", listen: "0.0.0.0:12345", sendProxyProtocol: "v2", peek: false },
  { kind: "tproxy", listen: "[::]:12345" },
] as const)("a listener of kind $kind", (listener) => {
  const limits = { connectionsPerClient: 10, udpFlows: 100 };
  validateRelayConfig({ version: 1, listeners: [listener], limits, timeouts: { udpIdleMs: 1, peekMs: 0 } });
});

/** Every member there is. */
const FULL: RelayConfig = {
  version: 1,
  listeners: [
    {
      name: "all",
      kind: "forward",
      listen: "[::1]:1",
      target: "a.test:1",
      acceptProxyProtocol: true,
      sendProxyProtocol: "v1",
    },
    { kind: "mixed", listen: "unix:/run/proxy", authenticate: true, peek: true },
  ],
  users: { joe: "secret" },
  targets: { allowPrivate: false, allow: ["10.0.0.0/8"] },
  timeouts: {
    handshakeMs: 1,
    connectMs: 1,
    upstreamMs: 1,
    idleMs: 0,
    halfClosedMs: 1,
    udpIdleMs: 1,
    peekMs: 1,
    drainMs: 1,
  },
  limits: { connections: 10, connectionsPerClient: 5, udpFlows: 5 },
  policy: {
    version: 1,
    selection: "random",
    servers: [
      { name: "a", type: "socks5", address: "192.0.2.1", port: 1 },
      { name: "b", type: "http", address: "192.0.2.2", port: 1 },
    ],
  },
  chains: { a: ["b"] },
  retries: 1,
  health: { passiveFailures: 1, intervalMs: 1, timeoutMs: 1 },
  dns: { ttlMs: 1, negativeTtlMs: 1, attemptDelayMs: 1, entries: 1, family: "any" },
  workers: 1,
  engine: "auto",
  accessLog: "a",
  control: "b",
  metrics: "127.0.0.1:1",
  pcap: "c",
};

test("the published schema is the validator's, and takes a configuration with every member", () => {
  const file = join(import.meta.dirname, "../../schema/relay-config.schema.json");
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(relayConfigSchema());
  const schema = new Ajv({ strict: true, strictTypes: false }).compile(relayConfigSchema());
  validateRelayConfig(FULL);
  expect(schema(FULL)).toBe(true);
  const known = Object.keys((relayConfigSchema() as { properties: object }).properties);
  expect(Object.keys(FULL).toSorted()).toEqual(known.toSorted());
  for (const name of known) {
    const wrong = { ...FULL, [name]: null };
    expect(schema(wrong)).toBe(false);
    expect(() => validateRelayConfig(wrong as never)).toThrow(
      expect.objectContaining({ location: { path: `/${name}` } }),
    );
  }
});
