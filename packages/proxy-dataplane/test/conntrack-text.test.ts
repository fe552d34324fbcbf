import { expect, test } from "vitest";
import { formatConntrack } from "@x/proxy-dataplane";
import { ethernet, icmpEcho, ipv4, tcp4, TEXT, udp6 } from "./frames.ts";
import { machine } from "./machine.ts";
import { ACK, fromServer, SYN } from "./traffic.ts";

test("connections are printed as conntrack -L and /proc/net/nf_conntrack print them", () => {
  const m = machine();
  m.send([tcp4({ flags: SYN })]);
  m.send([tcp4({ ...fromServer, flags: SYN | ACK })]);
  m.send([tcp4({ flags: ACK }), udp6(), ethernet(0x800, ipv4(1, icmpEcho(8, 7))), ethernet(0x800, ipv4(47, TEXT))]);
  m.hal.nowNs += 1e9;
  const lines = [...m.dataplane.connections()].map((connection) => formatConntrack(connection));
  expect(new Set(lines)).toEqual(
    new Set([
      "tcp      6 7199 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80 packets=2 bytes=132 src=192.0.2.1 dst=10.0.0.1 sport=1080 dport=1000 packets=1 bytes=66 [ASSURED] mark=0 use=1",
      "udp      17 179 src=2001:db8::1 dst=2001:db8::2 sport=1111 dport=2222 packets=1 bytes=74 [UNREPLIED] src=2001:db8::2 dst=2001:db8::1 sport=2222 dport=1111 packets=0 bytes=0 mark=0 use=1",
      "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 packets=1 bytes=54 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7 packets=0 bytes=0 mark=0 use=1",
      "unknown  47 599 src=10.0.0.1 dst=10.0.0.2 packets=1 bytes=46 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 packets=0 bytes=0 mark=0 use=1",
    ]),
  );
  const proc = [...m.dataplane.connections()].map((connection) => formatConntrack(connection, "proc"));
  expect(proc.find((line) => line.includes("tcp"))).toMatch(
    /^ipv4 {5}2 tcp {6}6 7199 ESTABLISHED .* \[ASSURED\] mark=0 zone=0 use=2$/,
  );
  expect(proc.find((line) => line.includes("ipv6"))).toMatch(/^ipv6 {5}10 udp {6}17 179 src=/);
});
