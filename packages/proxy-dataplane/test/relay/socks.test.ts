import fc from "fast-check";
import { expect, test } from "vitest";
import { MALFORMED, NEED_MORE, ParsedRequest, RelayCommand } from "../../src/relay/request.ts";
import { parseSocks4Request, writeSocks4Request } from "../../src/relay/socks4.ts";
import {
  parseSocks5Address,
  parseSocks5Greeting,
  parseSocks5Password,
  parseSocks5Request,
  socks5Offers,
  writeSocks5Address,
  writeSocks5Password,
  writeSocks5Request,
} from "../../src/relay/socks5.ts";

const port = fc.integer({ min: 0, max: 65535 });
const ipv4 = fc.ipV4();
const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,200}$/);

test("a SOCKS5 request is read as it was written, at every offset, and not before it is complete", () => {
  fc.assert(
    fc.property(fc.oneof(ipv4, fc.ipV6(), name), port, fc.integer({ min: 0, max: 9 }), (host, port, offset) => {
      const bytes = new Uint8Array(600);
      const length = writeSocks5Request(bytes.subarray(offset), RelayCommand.Connect, host, port);
      const request = new ParsedRequest();
      for (let cut = 0; cut < length; cut++) {
        expect(parseSocks5Request(bytes, offset, offset + cut, request)).toBe(NEED_MORE);
      }
      expect(parseSocks5Request(bytes, offset, offset + length + 5, request)).toBe(length);
      expect(request.port).toBe(port);
      // What was read means the same: written again it is the same bytes, but for IPv4 in IPv6 form.
      const again = new Uint8Array(600);
      const length2 = writeSocks5Address(again, 0, request.host, request.port);
      if (length2 === length - 3) expect(again.subarray(0, length2)).toEqual(bytes.slice(offset + 3, offset + length));
      else expect(request.family).toBe(4);
    }),
  );
});

test("IPv4 in IPv6 form is IPv4", () => {
  const bytes = Uint8Array.from([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1, 0, 80]);
  const request = new ParsedRequest();
  expect(parseSocks5Address(bytes, 0, bytes.length, request)).toBe(19);
  expect([request.family, request.host, request.port]).toEqual([4, "127.0.0.1", 80]);
});

test("an address sent as a name is an address", () => {
  const bytes = new Uint8Array(64);
  bytes.set([3, 9, ...Buffer.from("127.0.0.1"), 0, 80]);
  const request = new ParsedRequest();
  expect(parseSocks5Address(bytes, 0, 13, request)).toBe(13);
  expect([request.family, request.host]).toEqual([4, "127.0.0.1"]);
});

test.each([
  ["an empty name", [5, 1, 0, 3, 0, 0, 80]],
  ["a name with a blank", [5, 1, 0, 3, 3, 97, 32, 98, 0, 80]],
  ["a name with NUL", [5, 1, 0, 3, 3, 97, 0, 98, 0, 80]],
  ["an unknown kind of address", [5, 1, 0, 9, 1, 2, 3, 4, 0, 80]],
  ["another version", [6, 1, 0, 1, 1, 2, 3, 4, 0, 80]],
])("a SOCKS5 request with %s is malformed", (_what, bytes) => {
  expect(parseSocks5Request(Uint8Array.from(bytes), 0, bytes.length, new ParsedRequest())).toBe(MALFORMED);
});

test("greetings tell what is offered", () => {
  const bytes = Uint8Array.from([5, 3, 0, 2, 9, 77]);
  expect(parseSocks5Greeting(bytes, 0, 4)).toBe(NEED_MORE);
  expect(parseSocks5Greeting(bytes, 0, 6)).toBe(5);
  expect([0, 1, 2, 9, 77].map((method) => socks5Offers(bytes, 0, method))).toEqual([true, false, true, true, false]);
});

test("user and password are read as they were written", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme", maxLength: 40 }),
      fc.string({ unit: "grapheme", maxLength: 40 }),
      (user, password) => {
        const bytes = new Uint8Array(700);
        const length = writeSocks5Password(bytes, user, password);
        const request = new ParsedRequest();
        for (let cut = 1; cut < length; cut++) expect(parseSocks5Password(bytes, 0, cut, request)).toBe(NEED_MORE);
        expect(parseSocks5Password(bytes, 0, length, request)).toBe(length);
        expect([request.user, request.password]).toEqual([user, password]);
      },
    ),
  );
});

test("a SOCKS4 request is read as it was written, with an address or a name", () => {
  const user = fc.stringMatching(/^[!-~]{0,100}$/);
  fc.assert(
    fc.property(
      fc.option(fc.integer({ min: 0x100, max: 0xffffffff }), { nil: undefined }),
      name,
      port,
      user,
      (ipv4, host, port, user) => {
        const bytes = new Uint8Array(700);
        const length = writeSocks4Request(bytes, { host, port, ipv4 }, user);
        const request = new ParsedRequest();
        for (let cut = 0; cut < length; cut++) expect(parseSocks4Request(bytes, 0, cut, request)).toBe(NEED_MORE);
        expect(parseSocks4Request(bytes, 0, length + 3, request)).toBe(length);
        expect([request.port, request.user]).toEqual([port, user]);
        if (ipv4 === undefined) expect([request.family, request.host]).toEqual([0, host]);
        else expect(request.family).toBe(4);
      },
    ),
  );
});

test("a SOCKS4 request whose text does not end is malformed, not awaited for ever", () => {
  const bytes = new Uint8Array(400).fill(97);
  bytes.set([4, 1, 0, 80, 1, 2, 3, 4]);
  expect(parseSocks4Request(bytes, 0, 300, new ParsedRequest())).toBe(MALFORMED);
});

test("no bytes make a parser fail or read past the end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const request = new ParsedRequest();
      for (const parse of [parseSocks4Request, parseSocks5Request, parseSocks5Password, parseSocks5Greeting]) {
        const length = parse(bytes, 0, bytes.length, request);
        expect(length).toBeGreaterThanOrEqual(MALFORMED);
        expect(length).toBeLessThanOrEqual(bytes.length);
      }
    }),
  );
});
