import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DataplaneError, proxyConfigSchema, validateProxyConfig, type ProxyConfig } from "@x/proxy-dataplane";

/** Every member there is. */
const FULL: ProxyConfig = {
  version: 1,
  selection: "maglev",
  servers: [
    {
      name: "a",
      type: "socks5",
      address: "192.0.2.1",
      port: 1080,
      priority: 1,
      weight: 3,
      active: true,
      groups: ["eu", "x/y"],
      username: "ann",
      password: "secret",
    },
    { type: "http", address: "2001:db8::1", port: 3128 },
    { type: "socks4", address: "proxy.example.com", port: 1080 },
  ],
  groups: { eu: { selection: "weighted" }, "x/y": {} },
  rules: [
    {
      name: "all conditions",
      action: "proxy",
      group: "eu",
      source: ["10.0.0.0/8", "::1"],
      destination: ["0.0.0.0/0"],
      classes: ["public"],
      sourcePorts: [0, "1024-65535"],
      ports: [443, "8000-8999"],
      protocols: ["tcp", 47],
      hosts: ["example.com", "*.example.com", "*"],
      users: ["ann", "*"],
      process: { pid: [1], uid: [0], gid: [0], comm: ["curl"], path: ["/usr/bin/*"], cgroup: ["/user.slice"] },
    },
    { action: "drop" },
  ],
  defaultAction: "direct",
  withoutServer: "reject",
  protocols: ["tcp"],
  ports: [80, "443-444"],
  bypass: ["192.168.0.0/16"],
  bypassClasses: ["private"],
  limits: {
    perClient: { connections: 0, connectionsPerSecond: 5, connectionBurst: 10, bytesPerSecond: 1000, byteBurst: 2000 },
    perUser: {},
    ipv4Bits: 32,
    ipv6Bits: 48,
  },
  maglevSize: 65537,
};

const schema = new Ajv({ strict: true, strictTypes: false }).compile(proxyConfigSchema());

function pointerOf(value: unknown): string | undefined {
  try {
    validateProxyConfig(value as ProxyConfig);
    return undefined;
  } catch (error) {
    if (!(error instanceof DataplaneError)) throw error;
    expect(error.code).toBe("DATAPLANE_INVALID_CONFIG");
    return error.location.path;
  }
}

/** A copy with the member at a JSON pointer replaced; `undefined` removes it. */
function changed(pointer: string, value: unknown): unknown {
  const copy = structuredClone(FULL) as object;
  const names = pointer
    .split("/")
    .slice(1)
    .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
  let at = copy as Record<string, unknown>;
  for (const name of names.slice(0, -1)) at = at[name] as Record<string, unknown>;
  const last = names[names.length - 1];
  if (value === undefined) delete at[last];
  else at[last] = value;
  return copy;
}

describe("a configuration", () => {
  test("with every member there is passes, and so does the smallest", () => {
    expect(pointerOf(FULL)).toBeUndefined();
    expect(schema(FULL)).toBe(true);
    const smallest = { version: 1, selection: "random", servers: [{ type: "http", address: "192.0.2.1", port: 1 }] };
    expect(pointerOf(smallest)).toBeUndefined();
  });

  const bySchema: [string, unknown][] = [
    ["/version", 2],
    ["/selection", "best"],
    ["/selection", undefined],
    ["/servers", {}],
    ["/servers", Array.from({ length: 65 }, () => FULL.servers[1])],
    ["/servers/0/type", "socks"],
    ["/servers/1/port", 0],
    ["/servers/1/port", 1.5],
    ["/servers/1/address", undefined],
    ["/servers/0/weight", 0],
    ["/servers/0/weight", 257],
    ["/servers/0/priority", 65536],
    ["/servers/0/active", 1],
    ["/servers/0/username", "a\r\nb"],
    ["/servers/0/speed", 1],
    ["/groups/eu/selection", "fast"],
    ["/rules", {}],
    ["/rules/0/action", "block"],
    ["/rules/0/source", []],
    ["/rules/0/ports/0", 65536],
    ["/rules/0/ports/1", "80"],
    ["/rules/0/protocols/0", "sctp"],
    ["/rules/0/process/pid/0", -1],
    ["/rules/0/process/name", ["x"]],
    ["/rules/1", null],
    ["/defaultAction", "allow"],
    ["/protocols/0", "icmp"],
    ["/bypass/0", 7],
    ["/bypassClasses/0", "global"],
    ["/limits/perClient/connectionsPerSecond", 0],
    ["/limits/ipv6Bits", 129],
    ["/maglevSize", 100],
    ["/a~1b", 1],
  ];
  const byValidator: [string, unknown][] = [
    ["/servers/0/address", "1.2.3"],
    ["/servers/0/address", "1.2.3.4.5"],
    ["/servers/0/address", "0.0.0.0"],
    ["/servers/0/address", "a..b"],
    ["/servers/0/address", "café.test"],
    ["/servers/1/name", "a"],
    ["/servers/2", FULL.servers[1]],
    ["/servers/0/username", undefined],
    ["/servers/0/password", "é".repeat(200)],
    ["/groups/nobody", {}],
    ["/groups/no~1body", {}],
    ["/rules/0/group", "nobody"],
    ["/rules/1/group", "eu"],
    ["/rules/0/source/1", "10.0.0.0/33"],
    ["/rules/0/destination/0", "10.0.0.0/08"],
    ["/rules/0/ports/1", "9-8"],
    ["/rules/0/hosts/0", "*.*.test"],
    ["/rules/0/hosts/1", "*example.com"],
    ["/rules/0/hosts/2", "127.0.0.1"],
    ["/ports/1", "1-99999"],
    ["/bypass/0", "localhost"],
    ["/maglevSize", 65536],
  ];

  test.each([...bySchema, ...byValidator])("with a wrong %s is refused with that place (%j)", (pointer, value) => {
    const place = pointerOf(changed(pointer, value));
    expect(place).toBe(pointer === "/servers/0/username" && value === undefined ? "/servers/0/password" : pointer);
  });

  test.each(bySchema)("with a wrong %s is refused by the schema too (%j)", (pointer, value) => {
    expect(schema(changed(pointer, value))).toBe(false);
  });

  test.each([null, undefined, 1, "x", [], true])("that is %j is refused as a whole", (value) => {
    expect(pointerOf(value)).toBe("");
  });

  test("that the validator accepts, the schema accepts; never anything but its error is thrown", () => {
    const pointers: string[] = [];
    const walk = (value: unknown, path: string): void => {
      if (path !== "") pointers.push(path);
      if (typeof value !== "object" || value === null) return;
      for (const [name, inner] of Object.entries(value)) walk(inner, `${path}/${name.replaceAll("/", "~1")}`);
    };
    walk(FULL, "");
    const fragments = pointers.map((pointer) => {
      let at: unknown = FULL;
      for (const name of pointer.split("/").slice(1)) at = (at as Record<string, unknown>)[name.replaceAll("~1", "/")];
      return at;
    });
    const value = fc.oneof(fc.anything(), fc.constantFrom(...fragments), fc.constantFrom("10.0.0.0/8", "*", 0, "1-2"));
    let accepted = 0;
    fc.assert(
      fc.property(fc.constantFrom(...pointers), value, (pointer, other) => {
        const config = changed(pointer, other);
        if (pointerOf(config) !== undefined) return;
        accepted++;
        expect(schema(config)).toBe(true);
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(20);
  });

  test("is described by the schema that is published with the package", () => {
    const file = join(import.meta.dirname, "../../schema/proxy-config.schema.json");
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(proxyConfigSchema());
  });
});
