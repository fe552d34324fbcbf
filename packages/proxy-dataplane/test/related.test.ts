import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatAddress,
  internetChecksum,
  PacketInfo,
  parseFrame,
  parseQuoted,
  verifyIcmpChecksum,
  verifyIpChecksum,
} from "@x/proxy-dataplane";
import { A6, B6, be16, be32, bytes, ethernet, icmpEcho, ipv4, ipv6, tcp4, tcp6, udp4, udp6 } from "./frames.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";
import { ends, SYN } from "./traffic.ts";

const ROUTER = [198, 51, 100, 254];
const ROUTER6 = [0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe];

/** An ICMP error of `type` from `from` to `to`, which quotes an IP packet as it left. */
function icmpError(quoted: Uint8Array, from: number[], to: number[], type = 3, code = 4, rest = 1400): Uint8Array {
  const isIpv6 = quoted[0] >> 4 === 6;
  const message = bytes(type, code, 0, 0, be32(rest), quoted);
  const pseudo = isIpv6 ? bytes(from, to, be32(message.length), be32(58)) : bytes();
  message.set(be16(internetChecksum(bytes(pseudo, message))), 2);
  return isIpv6
    ? ethernet(0x86dd, ipv6(58, message, { source: from, destination: to }))
    : ethernet(0x800, ipv4(1, message, { source: from, destination: to }));
}

interface Seen {
  readonly outer: string;
  readonly inner: string;
  /** Of the error, of the quoted IPv4 header. */
  readonly sums: [number, number];
  readonly quoted: Uint8Array;
}

/** What an error says, by full parsing; checksums by full computation. */
function look(frame: Uint8Array): Seen {
  const info = new PacketInfo();
  const quoted = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  const isKnown = parseQuoted(frame, info, quoted);
  const show = ({ key, network }: PacketInfo, ports: boolean): string => {
    const [a, b] = [formatAddress(key, 0, network === 6), formatAddress(key, 4, network === 6)];
    return ports ? `${a} ${key[8] >>> 16} > ${b} ${key[8] & 0xffff}` : `${a} > ${b}`;
  };
  return {
    outer: show(info, false),
    inner: isKnown ? show(quoted, true) : "",
    sums: [verifyIcmpChecksum(frame, info), verifyIpChecksum(frame, quoted)],
    quoted: frame.subarray(quoted.networkOffset),
  };
}

const ipOf = (frame: Uint8Array): Uint8Array => frame.subarray(14);
const snat = (): Machine =>
  machine({ initial: configOf([], { translation: { source: [{ to: ["203.0.113.4", "2001:db8:f::4"] }] } }) });
const POOL6 = [0x20, 1, 0xd, 0xb8, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];

describe("an ICMP error about a translated flow", () => {
  test("comes to the client from the router that sent it, quoting what the client sent", () => {
    const m = snat();
    const sent = tcp4({ flags: SYN });
    const [left] = m.send([sent]);
    const [error] = m.send([icmpError(ipOf(left).subarray(0, 28), ROUTER, [203, 0, 113, 4])]);
    const seen = look(error);
    expect(seen.outer).toBe("198.51.100.254 > 10.0.0.1");
    expect(seen.inner).toBe(ends(sent));
    expect(seen.sums).toEqual([1, 1]);
    expect([...seen.quoted]).toEqual([...ipOf(sent).subarray(0, 28)]);
    expect(m.dataplane.details()).toMatchObject({ relatedTranslated: 1, relatedUnknown: 0 });
    expect(m.dataplane.connectionCount).toBe(1);
  });

  test("from the server itself seems to come from whom the client asked", () => {
    const m = machine();
    const [left] = m.send([udp4()]);
    const [error] = m.send([icmpError(ipOf(left), [192, 0, 2, 1], [10, 0, 0, 1], 3, 3, 0)]);
    expect(look(error)).toMatchObject({
      outer: "10.0.0.2 > 10.0.0.1",
      inner: "10.0.0.1 1111 > 10.0.0.2 2222",
      sums: [1, 1],
    });
  });

  test("about an answer goes to the server, as the server knows the flow", () => {
    const m = snat();
    m.send([udp4()]);
    const answer = udp4({
      source: [10, 0, 0, 2],
      destination: [203, 0, 113, 4],
      sourcePort: 2222,
      destinationPort: 1111,
    });
    const [left] = m.send([answer]);
    expect(ends(left)).toBe("10.0.0.2 2222 > 10.0.0.1 1111");
    const [error] = m.send([icmpError(ipOf(left), [10, 0, 0, 1], [10, 0, 0, 2], 3, 3, 0)]);
    expect(look(error)).toMatchObject({
      outer: "203.0.113.4 > 10.0.0.2",
      inner: "10.0.0.2 2222 > 203.0.113.4 1111",
      sums: [1, 1],
    });
    expect([...look(error).quoted]).toEqual([...ipOf(answer)]);
  });

  test("of IPv6 «packet too big» is translated inside and outside, its checksum too", () => {
    const m = snat();
    const sent = udp6();
    const [left] = m.send([sent]);
    const [error] = m.send([icmpError(ipOf(left), ROUTER6, POOL6, 2, 0, 1400)]);
    const seen = look(error);
    expect(seen).toMatchObject({ outer: "2001:db8:9::fe > 2001:db8::1", inner: ends(sent), sums: [1, 0] });
    expect([...seen.quoted]).toEqual([...ipOf(sent)]);
  });

  test("about an echo has the client's identifier", () => {
    const m = snat();
    const echo = (host: number): Uint8Array => ethernet(0x800, ipv4(1, icmpEcho(8, 77), { source: [10, 0, 0, host] }));
    const left = m.send([echo(1), echo(2)]);
    const back = m.send(left.map((frame) => icmpError(ipOf(frame), ROUTER, [203, 0, 113, 4], 11, 0, 0)));
    expect(back.map(look).map(({ outer, inner }) => [outer, inner])).toEqual([
      ["198.51.100.254 > 10.0.0.1", "10.0.0.1 77 > 10.0.0.2 77"],
      ["198.51.100.254 > 10.0.0.2", "10.0.0.2 77 > 10.0.0.2 77"],
    ]);
    expect(back.map((frame) => [...look(frame).quoted])).toEqual([echo(1), echo(2)].map((frame) => [...ipOf(frame)]));
  });

  test("with any part of any packet quoted is what it would be had nobody translated", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(tcp4, udp4, tcp6, udp6),
        fc.nat(65535),
        fc.nat(65535),
        fc.uint8Array({ maxLength: 40 }),
        fc.nat(100),
        fc.boolean(),
        (make, p, q, payload, cut, noSum) => {
          const m = snat();
          const isIpv6 = make === tcp6 || make === udp6;
          const sent = make({ sourcePort: p, destinationPort: q }, payload);
          if (noSum && make === udp4) sent.set([0, 0], 14 + 20 + 6);
          const [left] = m.send([sent]);
          const least = (isIpv6 ? 40 : 20) + 8;
          const room = Math.max(least, ipOf(left).length - cut);
          // Half of a checksum cannot be brought up to date.
          const length = room === least + 9 ? room - 1 : room;
          const quote = (frame: Uint8Array): Uint8Array => ipOf(frame).subarray(0, length);
          const [router, near, client] = isIpv6 ? [ROUTER6, POOL6, A6] : [ROUTER, [203, 0, 113, 4], [10, 0, 0, 1]];
          const [error] = m.send([icmpError(quote(left), router, near, isIpv6 ? 2 : 3)]);
          const wanted = icmpError(quote(sent), router, client, isIpv6 ? 2 : 3);
          const [got, want] = [look(error), look(wanted)];
          expect(got.sums).toEqual([1, isIpv6 ? 0 : 1]);
          expect([got.outer, got.inner, [...got.quoted]]).toEqual([want.outer, want.inner, [...want.quoted]]);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("an ICMP error", () => {
  test("about no connection, and one that was not sent to who sent what it quotes, are sent on as they are and counted", () => {
    const m = snat();
    const [left] = m.send([udp4()]);
    const stranger = icmpError(ipOf(udp4({ sourcePort: 9 })), ROUTER, [10, 0, 0, 1]);
    const forged = icmpError(ipOf(left), ROUTER, [203, 0, 113, 99]);
    const ofFragment = icmpError(ipv4(17, new Uint8Array(16), { fragment: 5 }), ROUTER, [10, 0, 0, 1]);
    const cut = icmpError(ipOf(left).subarray(0, 21), ROUTER, [203, 0, 113, 4]);
    expect(m.send([stranger, forged, ofFragment, cut])).toEqual([stranger, forged, ofFragment, cut]);
    expect(m.dataplane.details()).toMatchObject({ relatedUnknown: 3, relatedInvalid: 1, relatedTranslated: 0 });
  });

  test("about a flow that is not translated is known to belong to it, and sent on as it is", () => {
    const m = machine({ initial: configOf([]) });
    const [left] = m.send([udp4()]);
    const error = icmpError(ipOf(left), ROUTER, [10, 0, 0, 1]);
    expect(m.send([error])).toEqual([error]);
    expect(m.dataplane.details()).toMatchObject({ relatedUntouched: 1, packetsDirect: 1 });
  });

  test("in one vector with the packet it is about, and over shared bytes, is translated, and the other user's bytes stay", () => {
    const m = machine({ initial: configOf([server("192.0.2.1")]) });
    const first = udp4();
    const asLeft = udp4({ destination: [192, 0, 2, 1], destinationPort: 1080 });
    const error = icmpError(ipOf(asLeft), ROUTER, [10, 0, 0, 1]);
    const [one, two] = [m.packet(first), m.packet(error)];
    const clone = m.pool.clone(two);
    const out = new Int32Array(2);
    expect(m.dataplane.process(Int32Array.of(one, two), 2, out)).toBe(2);
    expect(look(m.read(out[1])).inner).toBe(ends(first));
    expect(m.read(clone)).toEqual(error);
    for (const id of [...out, clone]) m.pool.free(id);
    expect(m.pool.inUse).toBe(0);
  });

  test("that quotes another error, and an echo, say nothing of a flow", () => {
    const inner = ipOf(icmpError(ipOf(udp4()), ROUTER, [10, 0, 0, 1]));
    const frame = icmpError(inner, ROUTER, [10, 0, 0, 1]);
    const info = new PacketInfo();
    const quoted = new PacketInfo();
    parseFrame(frame, 0, frame.length, frame.length, 1, info);
    expect(parseQuoted(frame, info, quoted)).toBe(false);
    const echo = ethernet(0x86dd, ipv6(58, icmpEcho(128, 1), { destination: B6 }));
    parseFrame(echo, 0, echo.length, echo.length, 1, info);
    expect(parseQuoted(echo, info, quoted)).toBe(false);
  });
});
