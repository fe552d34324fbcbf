import { describe, expect, test } from "vitest";
import { DropReason, type ProxyConfig } from "@x/proxy-dataplane";
import { tcp4, tcp6, udp4 } from "../frames.ts";
import { configOf, machine, server, type Machine } from "../machine.ts";
import { ends, SYN } from "../traffic.ts";

const to = (m: Machine, frames: readonly Uint8Array[]): string[] =>
  m.send(frames).map((frame) => ends(frame).split(" ")[3]);

describe("packets", () => {
  test("of flows that a rule blocks are dropped and counted, rejected ones answered, others go where their rule says", () => {
    const reasons: DropReason[] = [];
    const initial = configOf([server("192.0.2.1"), server("192.0.2.2", { groups: ["second"] })], {
      selection: "failover",
      rules: [
        { action: "drop", ports: [25] },
        { action: "reject", source: ["10.0.0.9"] },
        { action: "direct", ports: ["22-23"] },
        { action: "proxy", group: "second", protocols: ["udp"] },
      ],
    });
    const m = machine({ initial, observer: { onDrop: (_cpu, reason) => reasons.push(reason) } });
    expect(to(m, [tcp4({ destinationPort: 25 }), tcp4({ source: [10, 0, 0, 9] })])).toEqual(["10.0.0.9"]);
    expect(reasons).toEqual([DropReason.Policy, DropReason.Policy]);
    expect(m.dataplane.details().dropPolicy).toBe(2);
    expect(to(m, [tcp4({ destinationPort: 22 }), udp4(), tcp4()])).toEqual(["10.0.0.2", "192.0.2.2", "192.0.2.1"]);
    expect(m.pool.inUse).toBe(0);
    expect(m.dataplane.connectionCount).toBe(3);
  });

  test("of flows that no server can take go as the configuration says", () => {
    const six = tcp6({ flags: SYN });
    const sent = (withoutServer?: ProxyConfig["withoutServer"]): number =>
      machine({
        initial: configOf([server("192.0.2.1")], withoutServer === undefined ? {} : { withoutServer }),
      }).send([six]).length;
    expect([sent(), sent("direct"), sent("drop"), sent("reject")]).toEqual([1, 1, 0, 1]);
  });

  test("of flows that exist are never lost nor moved by new configurations, whatever these say", () => {
    const m = machine({ initial: configOf([server("192.0.2.1"), server("192.0.2.2")]) });
    const flows = Array.from({ length: 40 }, (_, i) => tcp4({ sourcePort: 3000 + i, flags: SYN }));
    const before = to(m, flows);
    const others: Partial<ProxyConfig>[] = [
      { rules: [{ action: "drop" }] },
      { defaultAction: "reject" },
      { servers: [server("192.0.2.7")] },
      { servers: [server("192.0.2.1", { active: false })], withoutServer: "drop" },
      { bypass: ["0.0.0.0/0"] },
    ];
    for (const other of others) {
      m.dataplane.updateConfig({ ...configOf([server("192.0.2.2"), server("192.0.2.1")]), ...other });
      expect(to(m, flows)).toEqual(before);
      m.settle();
    }
    expect(m.dataplane.details().dropPolicy).toBe(0);
  });
});
