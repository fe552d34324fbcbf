import fc from "fast-check";
import { expect, test } from "vitest";
import type { Endpoint } from "../../src/relay/engine.ts";
import { parseProxyHeader, ProxyHeader, ProxyTlv } from "../../src/relay/proxy-protocol.ts";
import { proxyHeader } from "../../src/relay/proxy-protocol-write.ts";

const port = fc.integer({ min: 0, max: 65535 });
const ends4 = fc.record({ family: fc.constant(4 as const), host: fc.ipV4(), port });
const ends6 = fc.record({
  family: fc.constant(6 as const),
  host: fc.constantFrom("2001:db8::1", "::1", "fe80::1:2"),
  port,
});
const pair: fc.Arbitrary<[Endpoint, Endpoint]> = fc.oneof(fc.tuple(ends4, ends4), fc.tuple(ends6, ends6));

test("a header is read as it was written, in both versions, and not before it is complete", () => {
  fc.assert(
    fc.property(pair, fc.constantFrom(1 as const, 2 as const), fc.boolean(), ([source, destination], version, crc) => {
      const bytes = proxyHeader({ version, source, destination, crc, authority: "example.com", uniqueId: "id 1" });
      const header = new ProxyHeader();
      for (let cut = 0; cut < bytes.length; cut++) expect(parseProxyHeader(bytes, 0, cut, header)).toBe(0);
      expect(parseProxyHeader(Buffer.concat([bytes, Buffer.from("GET /")]), 0, bytes.length + 5, header)).toBe(
        bytes.length,
      );
      expect([header.version, header.source, header.destination]).toEqual([version, source, destination]);
      if (version === 2) {
        const authority = header.tlvs.find(({ type }) => type === ProxyTlv.Authority)?.value;
        expect(Buffer.from(authority!).toString()).toBe("example.com");
      }
    }),
  );
});

test("a wrong checksum is found", () => {
  const source: Endpoint = { family: 4, host: "192.0.2.1", port: 1 };
  const bytes = proxyHeader({ version: 2, source, destination: source, crc: true, authority: "a" });
  for (let at = 16; at < bytes.length; at++) {
    const broken = bytes.slice();
    broken[at] ^= 1;
    const header = new ProxyHeader();
    const length = parseProxyHeader(broken, 0, broken.length, header);
    // The type or the length of an attribute may change, so that it is no checksum any more.
    const hasChecksum = header.tlvs.some(({ type }) => type === ProxyTlv.Crc32c);
    if (length > 0) expect(hasChecksum).toBe(false);
  }
});

test.each([
  ["PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 32],
  ["PROXY UNKNOWN\r\n", 15],
  ["PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", 43],
])("version 1: %j", (text, length) => {
  expect(parseProxyHeader(Buffer.from(text), 0, text.length, new ProxyHeader())).toBe(length);
});

test.each([
  "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
  "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
  "PROXY TCP4 ::1 ::2 1 2\r\n",
  "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
  "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
  "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
  "GET / HTTP/1.1\r\n",
  "PROXY " + "x".repeat(120),
])("malformed: %j", (text) => {
  expect(parseProxyHeader(Buffer.from(text), 0, text.length, new ProxyHeader())).toBe(-1);
});

test("version 2, LOCAL, has no ends, whatever addresses are in it", () => {
  const bytes = proxyHeader({ version: 2, source: undefined, destination: undefined });
  bytes[12] = 0x20;
  const header = new ProxyHeader();
  expect(parseProxyHeader(bytes, 0, bytes.length, header)).toBe(16);
  expect([header.isLocal, header.source]).toEqual([true, undefined]);
});

test("no bytes make the parser fail or read past the end", () => {
  const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
  const some = fc.uint8Array({ maxLength: 300 });
  const started = some.map((rest) => Uint8Array.from([...signature, 0x21, ...rest]));
  fc.assert(
    fc.property(fc.oneof(some, started), (bytes) => {
      const length = parseProxyHeader(bytes, 0, bytes.length, new ProxyHeader());
      expect(length).toBeGreaterThanOrEqual(-1);
      expect(length).toBeLessThanOrEqual(bytes.length);
    }),
  );
});
