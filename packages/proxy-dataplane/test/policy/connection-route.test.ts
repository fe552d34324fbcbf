import { describe, expect, test } from "vitest";
import {
  PolicyEngine,
  proxyConfigCell,
  ServerHealth,
  type ConnectionRequest,
  type ProxyConfig,
} from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";

const config: ProxyConfig = {
  version: 1,
  selection: "failover",
  servers: [
    { type: "socks5", address: "192.0.2.1", port: 1080, priority: 1, groups: ["eu"], name: "one" },
    { type: "http", address: "proxy.test", port: 3128, priority: 2, groups: ["eu"], name: "two" },
    { type: "socks4", address: "192.0.2.3", port: 1080, priority: 3, groups: ["us"], name: "three" },
  ],
  rules: [
    { action: "reject", hosts: ["*.ads.test"] },
    { action: "drop", source: ["203.0.113.0/24"] },
    { action: "reject", users: ["eve"] },
    { action: "proxy", group: "us", process: { comm: ["curl"] } },
    { action: "proxy", group: "eu", ports: [443] },
    { action: "direct", destination: ["2001:db8:1::/48"] },
  ],
  withoutServer: "reject",
};

function engineOf(initial: ProxyConfig = config): { engine: PolicyEngine; update: (next: ProxyConfig) => void } {
  const rcu = Rcu.create();
  const cell = proxyConfigCell({ rcu, initial });
  return { engine: PolicyEngine.create({ config: cell }), update: (next) => void cell.update(next) };
}

const request = (more: Partial<ConnectionRequest> = {}): ConnectionRequest => ({
  client: "10.0.0.1",
  clientPort: 5000,
  destination: "198.51.100.1",
  port: 443,
  ...more,
});

describe("a connection", () => {
  const { engine } = engineOf();
  const routed = (more: Partial<ConnectionRequest>): [string, number, string | undefined] => {
    const { action, rule, server } = engine.routeConnection(request(more));
    return [action, rule, server?.name];
  };

  test("is routed by address, name, user and process as packets are", () => {
    expect(routed({})).toEqual(["proxy", 4, "one"]);
    expect(routed({ destination: "x.ads.test" })).toEqual(["reject", 0, undefined]);
    expect(routed({ hostName: "X.Ads.Test" })).toEqual(["reject", 0, undefined]);
    expect(routed({ client: "203.0.113.9" })).toEqual(["drop", 1, undefined]);
    expect(routed({ user: "eve" })).toEqual(["reject", 2, undefined]);
    expect(routed({ process: { comm: "curl" } })).toEqual(["proxy", 3, "three"]);
    expect(routed({ port: 80, destination: "other.test" })).toEqual(["proxy", -1, "one"]);
    expect(routed({ port: 80, destination: "127.0.0.1" })).toEqual(["direct", -1, undefined]);
  });

  test("may have ends of different families", () => {
    expect(routed({ port: 80, destination: "2001:db8:1::5" })).toEqual(["direct", 5, undefined]);
    expect(routed({ client: "::ffff:203.0.113.9" })).toEqual(["drop", 1, undefined]);
    expect(routed({ client: "2001:db8::1", destination: "127.0.0.1", port: 80 })).toEqual(["direct", -1, undefined]);
    expect(routed({ client: "203.0.113.9", destination: "2001:db8:1::5" })).toEqual(["drop", 1, undefined]);
  });

  test("of a client that is no address is an error", () => {
    expect(() => engine.routeConnection(request({ client: "localhost" }))).toThrow(
      expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" }),
    );
  });

  test("goes to the next server of its group when one fails, by the policy it began with", () => {
    const { engine: own, update } = engineOf();
    const first = own.routeConnection(request());
    update({ ...config, servers: [config.servers[2]], rules: [] });
    const second = own.nextServer(request(), first, [0]);
    expect(second?.server?.name).toBe("two");
    expect(own.nextServer(request(), first, [0, 1])).toBeUndefined();
    expect(own.routeConnection(request()).server?.name).toBe("three");
    expect(own.routeConnection(request()).policy.version).toBe(2);
  });

  test("without a server that can take it becomes what the configuration says", () => {
    const { engine: own, update } = engineOf();
    for (const name of ["one", "two", "three"]) own.setHealth(name, ServerHealth.Down);
    expect(own.routeConnection(request())).toMatchObject({ action: "reject", serverIndex: -1, serverSlot: 0, rule: 4 });
    update({ ...config, withoutServer: "direct" });
    expect(own.routeConnection(request()).action).toBe("direct");
  });

  test("of one client goes to one server by source hash, whatever the family of its destination", () => {
    const { engine: own } = engineOf({ ...config, selection: "source-hash", rules: [] });
    const servers = ["198.51.100.1", "2001:db8::1", "name.test", "198.51.100.77"].map(
      (destination) => own.routeConnection(request({ destination })).serverIndex,
    );
    expect(new Set(servers).size).toBe(1);
  });
});
