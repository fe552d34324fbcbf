import { createServer, type AddressInfo } from "node:net";
import { connect as connectTls } from "node:tls";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  detectDatagram,
  Detection,
  DnsMessage,
  formatAddress,
  HttpHostDetector,
  ProtocolDetector,
  TlsHelloDetector,
} from "@x/proxy-dataplane";
import { ascii, dnsMessage, hello, records, type HelloParts } from "./hellos.ts";

interface Detector {
  push(bytes: Uint8Array, from?: number, to?: number): Detection;
  readonly name: string;
}
interface Seen {
  readonly result: Detection;
  readonly name: string;
}

/** Pushes the bytes in pieces that end at the given places. */
function inPieces(detector: Detector, bytes: Uint8Array, cuts: readonly number[]): Seen {
  let result: Detection = Detection.More;
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const to of places) {
    result = detector.push(bytes, from, to);
    from = to;
  }
  return { result, name: detector.name };
}
const tls = (): TlsHelloDetector => {
  const detector = new TlsHelloDetector();
  detector.clear();
  return detector;
};
const http = (): HttpHostDetector => {
  const detector = new HttpHostDetector();
  detector.clear();
  return detector;
};
const whole = (detector: Detector, bytes: Uint8Array): Seen => inPieces(detector, bytes, []);
const found = (name: string): Seen => ({ result: Detection.Name, name });
const none: Seen = { result: Detection.NoName, name: "" };
const not: Seen = { result: Detection.Not, name: "" };
const more: Seen = { result: Detection.More, name: "" };

describe("the hello of TLS", () => {
  test("that a real client sends names the server", async () => {
    const first = await new Promise<Uint8Array>((resolve, reject) => {
      const server = createServer((socket) => {
        socket.once("data", (data) => {
          socket.destroy();
          server.close();
          resolve(data);
        });
        socket.on("error", () => undefined);
      });
      server.on("error", reject);
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo;
        connectTls({ host: "127.0.0.1", port, servername: "Real.Example.COM" }).on("error", () => undefined);
      });
    });
    expect(whole(tls(), first)).toEqual(found("real.example.com"));
  });

  test("gives its name however it is cut into segments and records", () => {
    const parts: HelloParts = {
      name: "www.example.com",
      before: [[1, 2, 3], [], Array.from({ length: 1200 }, () => 9)],
    };
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 12 }), fc.integer({ min: 1, max: 2000 }), (cuts, size) => {
        expect(inPieces(tls(), records(hello(parts), size), cuts)).toEqual(found("www.example.com"));
      }),
      { numRuns: 200 },
    );
  });

  test("without a name, or cut short, says so", () => {
    const message = hello({ name: "a.test" });
    expect(whole(tls(), records(hello()))).toEqual(none);
    expect(whole(tls(), records(hello({ noExtensions: true })))).toEqual(none);
    expect(whole(tls(), records(hello({ name: "a.test", nameType: 3 })))).toEqual(none);
    const end = records(message).length - 9;
    for (let to = 0; to < end - 1; to++) expect(whole(tls(), records(message).subarray(0, to))).toEqual(more);
    expect(whole(tls(), records(hello({ name: "a.test." })))).toEqual(found("a.test"));
  });

  test("that lies about a length, or is something else, is not one", () => {
    const message = hello({ name: "a.test", session: 0, ciphers: 1 });
    const change = (at: number, value: number): Uint8Array => {
      const bytes = records(message);
      bytes[at] = value;
      return bytes;
    };
    const body = 5 + 4;
    expect(whole(tls(), change(0, 23))).toEqual(not);
    expect(whole(tls(), change(1, 2))).toEqual(not);
    expect(whole(tls(), change(3, 0x41))).toEqual(not);
    expect(whole(tls(), change(5, 2))).toEqual(not);
    expect(whole(tls(), change(6, 2))).toEqual(not);
    expect(whole(tls(), change(body + 34, 33))).toEqual(not);
    expect(whole(tls(), change(body + 36, 3))).toEqual(not);
    expect(whole(tls(), change(body + 39, 0))).toEqual(not);
    expect(whole(tls(), change(body + 41, 0xff))).toEqual(not);
    for (const name of ["", "a b", "a\u0000.test", "x".repeat(254)]) {
      expect(whole(tls(), records(hello({ name })))).toEqual(not);
    }
    expect(whole(tls(), Uint8Array.of(22, 3, 1, 0, 0))).toEqual(not);
  });
});

describe("the head of HTTP/1", () => {
  const cases: [string, Seen][] = [
    ["GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", found("a.test")],
    ["GET / HTTP/1.0\nhOsT:A.Test:8080 \n\n", found("a.test")],
    ["POST /x?y=http://b.test/ HTTP/1.1\r\nX-Host: b\r\nHost:\ta.test\t\r\n", found("a.test")],
    ["GET http://b.test:81/x HTTP/1.1\r\nHost: a.test\r\n", found("b.test")],
    ["GET http://user:p@b.test?x HTTP/1.1\r\n", found("b.test")],
    ["CONNECT c.test:443 HTTP/1.1\r\nHost: a.test\r\n", found("c.test")],
    ["OPTIONS * HTTP/1.1\r\nHost: a.test\r\n", found("a.test")],
    ["GET / HTTP/1.1\r\nA: 1\r\n Host: folded.test\r\nHost: a.test\r\n", found("a.test")],
    ["GET / HTTP/1.0\r\nA: b\r\n\r\n", none],
    ["GET / HTTP/1.1\r\nHost:\r\n\r\n", none],
    ["GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", none],
    ["CONNECT [2001:db8::1]:443 HTTP/1.1\r\n", none],
    ["GET / HTTP/1.1\r\nHost: a.test", more],
    ["GET / HTTP/1.1\r\n", more],
    ["", more],
    ["GE", more],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", not],
    ["GET / HTTP/1.1\r\nHost: a b.test\r\n\r\n", found("a")],
    ["GET / HTTP/1.1\r\nHost: a\u0000.test\r\n", not],
    ["GET / HTTP/1.1\r\nbad name: 1\r\n", not],
    ["get / HTTP/1.1\r\n", not],
    ["GET  / HTTP/1.1\r\n", not],
    ["GET 1ttp://a.test/ HTTP/1.1\r\n", not],
    ["SSH-2.0-OpenSSH_9.2\r\n", not],
    [`GET / HTTP/1.1\r\n${"A: b\r\n".repeat(12000)}`, not],
  ];

  test.each(cases)("%j", (text, expected) => {
    expect(whole(http(), ascii(text))).toEqual(expected);
    const bytes = ascii(text);
    const cuts = Array.from({ length: Math.min(bytes.length, 300) }, (_, at) => at);
    expect(inPieces(http(), bytes, cuts)).toEqual(expected);
  });
});

describe("a DNS message", () => {
  const message = new DnsMessage();
  const addresses = (): string[] =>
    Array.from({ length: message.addressCount }, (_, i) =>
      formatAddress(message.addresses, i * 4, message.families[i] === 6),
    );

  test("that asks names what it asks for", () => {
    expect(message.parse(dnsMessage("WWW.Example.com", undefined))).toBe(true);
    expect([message.name, message.isAnswer, message.addressCount]).toEqual(["www.example.com", false, 0]);
  });

  test("that answers gives the addresses behind all aliases, and the least time of all records", () => {
    const answer = dnsMessage("www.example.com", [
      { owner: 12, type: 5, ttl: 50, data: [3, 99, 100, 110, 0xc0, 16] },
      { owner: "cdn.example.com", type: 1, ttl: 300, data: [192, 0, 2, 1] },
      { owner: 16, type: 16, ttl: 400, data: [1, 65] },
      { owner: 12, type: 28, ttl: 60, data: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5] },
    ]);
    expect(message.parse(answer)).toBe(true);
    expect([message.name, message.isAnswer, message.ttlSeconds]).toEqual(["www.example.com", true, 50]);
    expect(addresses()).toEqual(["192.0.2.1", "2001:db8::5"]);
  });

  test("with an error, a negative time, or pointers that go round is read without harm", () => {
    expect(message.parse(dnsMessage("a.test", [], 0x8183))).toBe(true);
    expect([message.isAnswer, message.addressCount]).toEqual([false, 0]);
    expect(message.parse(dnsMessage("a.test", [{ owner: 12, type: 1, ttl: 0xffff_ffff, data: [1, 2, 3, 4] }]))).toBe(
      true,
    );
    expect(message.ttlSeconds).toBe(0);
    const round = dnsMessage("a.test", [{ owner: 24, type: 1, ttl: 1, data: [1, 2, 3, 4] }]);
    expect(message.parse(round)).toBe(true);
    const many = Array.from({ length: 60 }, (_, i) => ({ owner: 12, type: 1, ttl: 9, data: [10, 0, 0, i] }));
    expect(message.parse(dnsMessage("a.test", many))).toBe(true);
    expect(message.addressCount).toBe(16);
  });

  test("that is cut, has a wrong length, or none or two questions, is none", () => {
    const answer = dnsMessage("a.test", [{ owner: 12, type: 1, ttl: 9, data: [1, 2, 3, 4] }]);
    for (let to = 0; to < answer.length; to++) expect(message.parse(answer, 0, to)).toBe(false);
    expect(message.parse(dnsMessage("a.test", [{ owner: 12, type: 1, ttl: 9, data: [1, 2, 3] }]))).toBe(false);
    for (const count of [0, 2]) {
      const other = answer.slice();
      other[5] = count;
      expect(message.parse(other)).toBe(false);
    }
    const pointed = answer.slice();
    pointed[12] = 0xc0;
    expect(message.parse(pointed)).toBe(false);
  });
});

describe("the protocol of a stream", () => {
  const detect = (bytes: Uint8Array, cuts: readonly number[] = []): [string, Detection, string] => {
    const detector = new ProtocolDetector().clear();
    const { result, name } = inPieces(detector, bytes, cuts);
    return [detector.protocol, result, name];
  };
  test.each([
    ["tls", records(hello({ name: "a.test" })), Detection.Name, "a.test"],
    ["tls", records(hello()), Detection.NoName, ""],
    ["http", ascii("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"), Detection.Name, "b.test"],
    ["ssh", ascii("SSH-2.0-x\r\n"), Detection.NoName, ""],
    ["socks5", Uint8Array.of(5, 1, 0), Detection.NoName, ""],
    ["socks4", Uint8Array.of(4, 1, 0, 80, 1, 2, 3, 4, 0), Detection.NoName, ""],
    ["unknown", Uint8Array.of(4, 9), Detection.Not, ""],
    ["unknown", ascii("hello\r\n"), Detection.Not, ""],
    ["unknown", ascii("SSx-"), Detection.Not, ""],
    ["unknown", ascii("SSH"), Detection.More, ""],
  ] as const)("is %s by its first bytes, in one piece or many", (protocol, bytes, result, name) => {
    expect(detect(bytes)).toEqual([protocol, result, name]);
    expect(
      detect(
        bytes,
        Array.from(bytes.subarray(0, 400), (_, at) => at),
      ),
    ).toEqual([protocol, result, name]);
  });

  test("of a datagram is DNS, QUIC or unknown", () => {
    const quic = new Uint8Array(1200);
    quic.set([0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
    expect(detectDatagram(quic)).toBe("quic");
    expect(detectDatagram(quic.subarray(0, 1199))).toBe("unknown");
    expect(detectDatagram(dnsMessage("a.test", undefined))).toBe("dns");
    expect(detectDatagram(ascii("hello"))).toBe("unknown");
  });
});

describe("hostile bytes", () => {
  /** A million inputs take a few seconds; `DETECT_FUZZ` asks for more. */
  const INPUTS = Number(process.env["DETECT_FUZZ"] ?? 1_000_000);

  test("are never an exception nor read past their end, and a detector that has answered stays with it", () => {
    const seeds = [
      records(hello({ name: "www.example.com" })),
      records(hello({ name: "a.test", session: 0, ciphers: 1 }), 20),
      ascii("GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n"),
      ascii("GET /abc HTTP/1.1\r\nHost: b.test\r\n\r\n"),
      dnsMessage("a.test", [{ owner: 12, type: 1, ttl: 9, data: [1, 2, 3, 4] }]),
      dnsMessage("a.test", undefined),
      Uint8Array.of(5, 1, 0),
    ];
    // Behind every input lie bytes that complete no message, so that reading on would show as a name.
    const arena = new Uint8Array(1024).fill(0x7a);
    const detector = new ProtocolDetector();
    const message = new DnsMessage();
    const results = [0, 0, 0, 0];
    let state = 0x2545f491;
    const random = (below: number): number => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % below;
    };
    for (let i = 0; i < INPUTS; i++) {
      const seed = seeds[i % seeds.length];
      arena.set(seed);
      const length = random(4) === 0 ? random(seed.length + 1) : seed.length;
      for (let changes = random(4); changes > 0; changes--) arena[random(seed.length)] = random(256);
      const cut = random(length + 1);
      const first = detector.clear().push(arena, 0, cut);
      const second = detector.push(arena, cut, length);
      if (first !== Detection.More && second !== first) throw new Error(`answer ${first} became ${second}, input ${i}`);
      if (second === Detection.Name && !/^[a-z0-9._-]{1,253}$/.test(detector.name))
        throw new Error(`name ${detector.name}`);
      results[second]++;
      message.parse(arena, 0, length);
      if (message.addressCount > 16) throw new Error(`${message.addressCount} addresses, input ${i}`);
    }
    // All answers occur, or the inputs are no test.
    for (const count of results) expect(count).toBeGreaterThan(INPUTS / 100);
  }, 120_000);

  test("read in two pieces answer as in one", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .tuple(
          fc.constantFrom(records(hello({ name: "a.test" })), ascii("GET / HTTP/1.1\r\nHost: b.test\r\n")),
          fc.nat(),
          fc.nat(255),
        )
        .map(([seed, at, value]) => {
          const copy = seed.slice();
          copy[at % copy.length] = value;
          return copy;
        }),
    );
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(), { maxLength: 5 }), (input, cuts) => {
        const [one, many] = [new ProtocolDetector().clear(), new ProtocolDetector().clear()];
        expect(inPieces(many, input, cuts)).toEqual(whole(one, input));
        expect(many.protocol).toBe(one.protocol);
      }),
      { numRuns: 1000 },
    );
  });
});
