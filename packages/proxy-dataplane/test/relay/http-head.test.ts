import fc from "fast-check";
import { expect, test } from "vitest";
import {
  basicCredentials,
  basicHeader,
  forwardHead,
  httpHeadLength,
  httpStatus,
  parseAuthority,
  parseHttpHead,
} from "../../src/relay/http-head.ts";
import { MALFORMED, NEED_MORE, ParsedRequest } from "../../src/relay/request.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

test("a head ends with an empty line, and not before", () => {
  const text = "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nbody";
  const all = bytes(text);
  const end = text.length - 4;
  for (let cut = 0; cut < end; cut++) expect(httpHeadLength(all, 0, cut)).toBe(NEED_MORE);
  for (let cut = end; cut <= all.length; cut++) expect(httpHeadLength(all, 0, cut)).toBe(end);
});

test("what cannot be a request is refused at once", () => {
  expect(httpHeadLength(bytes("\x16\x03\x01"), 0, 3)).toBe(MALFORMED);
  expect(httpHeadLength(new Uint8Array(16384).fill(65), 0, 16384)).toBe(MALFORMED);
});

test.each([
  ["no version", "GET http://a/\r\n\r\n"],
  ["a folded line", "GET http://a/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n"],
  ["a blank before the colon", "GET http://a/ HTTP/1.1\r\nContent-Length : 4\r\n\r\n"],
  ["a control character in a value", "GET http://a/ HTTP/1.1\r\nA: b\u0000c\r\n\r\n"],
  ["HTTP/2", "PRI * HTTP/2.0\r\n\r\n"],
])("a head with %s is malformed", (_what, text) => {
  expect(parseHttpHead(bytes(text), 0, text.length)).toBeUndefined();
});

test("a request is forwarded in origin form, without what is for the proxy", () => {
  const text =
    "POST http://Example.com:8080?q=1 HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic eDp5\r\n" +
    "Connection: keep-alive, X-Private\r\nX-Private: 1\r\nAccept: */*\r\nContent-Length: 3\r\n\r\n";
  const head = parseHttpHead(bytes(text), 0, text.length);
  const request = new ParsedRequest();
  expect(forwardHead(head!, request)).toBe(
    "POST /?q=1 HTTP/1.1\r\nHost: Example.com:8080\r\nAccept: */*\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
  );
  expect([request.host, request.port]).toEqual(["Example.com", 8080]);
});

test("an upgrade goes through", () => {
  const text = "GET http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  const forwarded = forwardHead(parseHttpHead(bytes(text), 0, text.length)!, new ParsedRequest());
  expect(forwarded).toContain("Connection: upgrade\r\nUpgrade: websocket\r\n");
});

test.each([
  ["example.com:443", ["example.com", 443, 0]],
  ["192.0.2.1:80", ["192.0.2.1", 80, 4]],
  ["[2001:db8::1]:80", ["2001:db8::1", 80, 6]],
  ["example.com", ["example.com", 7, 0]],
])("the authority %s", (text, expected) => {
  const into = new ParsedRequest();
  expect(parseAuthority(text, 7, into)).toBe(true);
  expect([into.host, into.port, into.family]).toEqual(expected);
});

test.each([
  "",
  ":80",
  "a:0",
  "a:65536",
  "a:b",
  "a b:80",
  "user@a:80",
  "2001:db8::1:80",
  "[a]:80",
  "[::1",
  "a/b:80",
  "a:80:80",
])("no authority: %s", (text) => {
  expect(parseAuthority(text, 7, new ParsedRequest())).toBe(false);
});

test("credentials are read as they were written", () => {
  const user = fc.string({ unit: "grapheme", maxLength: 30 }).filter((text) => !text.includes(":"));
  fc.assert(
    fc.property(user, fc.string({ unit: "grapheme", maxLength: 30 }), (user, password) => {
      expect(basicCredentials(basicHeader(user, password))).toEqual({ user, password });
    }),
  );
  expect(basicCredentials("Bearer abc")).toBeUndefined();
  expect(basicCredentials(undefined)).toBeUndefined();
});

test("the status of an answer", () => {
  expect(httpStatus(bytes("HTTP/1.0 200 Connection established\r\n\r\n"), 0, 39)).toBe(200);
  expect(httpStatus(bytes("HTTP/1.1 407\r\n\r\n"), 0, 16)).toBe(407);
  expect(httpStatus(bytes("SSH-2.0-x\r\n\r\n"), 0, 13)).toBe(0);
});
