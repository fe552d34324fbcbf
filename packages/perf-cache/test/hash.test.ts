import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import {
  crc16X25,
  crc32,
  crc32c,
  FLOW_KEY_IPV6,
  FlowTable,
  halfSipHash13,
  hashCombine,
  hashTuple,
  jhash2Words,
  jhash3Words,
  jhashBytes,
  jhashWords,
  RSS_KEY,
  sipHash13Words,
  sipHashBytes,
  toeplitz,
  ToeplitzTable,
  writeIpv4Key,
  writeIpv6Key,
} from "../src/index.ts";
import { sipHashFunctions } from "../src/siphash-wasm.ts";

const ipv4 = (text: string): number => text.split(".").reduce((word, byte) => (word << 8) | Number(byte), 0);
const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i);

describe("jhash", () => {
  it("gives the values of DPDK's test_hash_functions.c for keys of the bytes 0, 1, 2 …", () => {
    const expected: [number, number, number][] = [
      [1, 0, 0x8ba9414b],
      [2, 0, 0xdf0d39c9],
      [4, 0, 0xe4cf1d42],
      [9, 0, 0xeca51474],
      [13, 0, 0xbc9d6816],
      [16, 0, 0x5e84eafc],
      [48, 0, 0x2f4775ab],
      [64, 0xdeadbeef, 0x7a94f690],
      [37, 0xdeadbeef, 0x91d0e462],
    ];
    for (const [length, init, hash] of expected) expect(jhashBytes(counting(length), init) >>> 0).toBe(hash);
  });

  it("gives the values of lookup3.c's own driver", () => {
    // Bob Jenkins, lookup3.c, driver5: hashlittle of "" and of the 30 bytes below.
    const text = new TextEncoder().encode("Four score and seven years ago");
    expect(jhashBytes(new Uint8Array(0), 0) >>> 0).toBe(0xdeadbeef);
    expect(jhashBytes(new Uint8Array(0), 0xdeadbeef) >>> 0).toBe(0xbd5b7dde);
    expect(jhashBytes(text, 0) >>> 0).toBe(0x17770551);
    expect(jhashBytes(text, 1) >>> 0).toBe(0xcd628161);
  });

  it("hashes words as their little-endian bytes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 20 }),
        fc.nat(),
        (list, init) => {
          const words = Int32Array.from([7, ...list]);
          const bytes = new Uint8Array(Int32Array.from(list).buffer);
          expect(jhashWords(words, 1, list.length, init)).toBe(jhashBytes(bytes, init));
          if (list.length >= 3)
            expect(jhash3Words(list[0], list[1], list[2], init)).toBe(jhashWords(words, 1, 3, init));
          if (list.length >= 2) expect(jhash2Words(list[0], list[1], init)).toBe(jhashWords(words, 1, 2, init));
        },
      ),
    );
  });
});

describe("the hash of a flow key", () => {
  it("is that of the original kernel module for IPv4 and IPv6", () => {
    const key = new Int32Array(12);
    writeIpv4Key(key, 0, ipv4("10.0.0.1"), ipv4("93.184.216.34"), 12345, 443, 6);
    expect(hashTuple(key, 0) >>> 0).toBe(0xdfd3aa6a);
    writeIpv4Key(key, 2, ipv4("192.168.1.10"), ipv4("8.8.8.8"), 53000, 53, 17);
    expect(hashTuple(key, 2) >>> 0).toBe(0x4d63e6ca);
    const addresses = new Uint8Array(32);
    addresses.set([0x20, 0x01, 0x0d, 0xb8]);
    addresses.set([0x20, 0x01, 0x0d, 0xb8], 16);
    addresses[15] = 1;
    addresses[31] = 2;
    writeIpv6Key(key, 0, addresses, 0, 12345, 443, 6);
    expect(hashTuple(key, 0) >>> 0).toBe(0x6d92aeb9);
  });

  it("combines two hashes in order", () => {
    expect(hashCombine(1, 2) >>> 0).toBe(0x2c6941a0);
    expect(hashCombine(2, 1)).not.toBe(hashCombine(1, 2));
  });

  it("spreads consecutive flows evenly over buckets", () => {
    const buckets = new Int32Array(1024);
    const key = new Int32Array(10);
    for (let i = 0; i < 16384; i++) {
      writeIpv4Key(key, 0, 0x0a000001 + (i & 15), 0x08080808, 1024 + (i >> 4), 443, 6);
      buckets[hashTuple(key, 0) & 1023]++;
    }
    // 16 a bucket is the mean; a Poisson bucket exceeds 48 with a chance below 1e-9.
    expect(Math.max(...buckets)).toBeLessThan(48);
    expect(Math.min(...buckets)).toBeGreaterThan(0);
  });
});

/** Verification suite of Microsoft, «Verifying the RSS Hash Calculation»: destination, source, then the hashes. */
const RSS_IPV4: [string, number, string, number, number, number][] = [
  ["161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178],
  ["65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea],
  ["12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a],
  ["209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f],
  ["202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2],
];

describe("Toeplitz", () => {
  it("gives the values of Microsoft's verification suite, by definition, by table, and from a flow key", () => {
    const table = new ToeplitzTable();
    const key = new Int32Array(10);
    for (const [destination, destinationPort, source, sourcePort, addressHash, portHash] of RSS_IPV4) {
      const input = Uint8Array.of(
        ...`${source}.${destination}`.split(".").map(Number),
        ...ports(sourcePort, destinationPort),
      );
      expect(toeplitz(RSS_KEY, input, 0, 8) >>> 0).toBe(addressHash);
      expect(toeplitz(RSS_KEY, input) >>> 0).toBe(portHash);
      expect(table.hash(input, 0, 8) >>> 0).toBe(addressHash);
      expect(table.hash(input) >>> 0).toBe(portHash);
      writeIpv4Key(key, 0, ipv4(source), ipv4(destination), sourcePort, destinationPort, 6);
      expect(table.hashFlow(key, 0, false) >>> 0).toBe(addressHash);
      expect(table.hashFlow(key, 0, true) >>> 0).toBe(portHash);
    }
  });

  it("gives the IPv6 values of the same suite", () => {
    const table = new ToeplitzTable();
    const key = new Int32Array(10);
    const addresses = Uint8Array.from(
      "3ffe250102001fff00000000000000073ffe2501020000030000000000000001".match(/../g) ?? [],
      (byte) => parseInt(byte, 16),
    );
    writeIpv6Key(key, 0, addresses, 0, 2794, 1766, 6);
    expect(table.hashFlow(key, 0, false) >>> 0).toBe(0x2cc18cd5);
    expect(table.hashFlow(key, 0, true) >>> 0).toBe(0x40207d3d);
  });

  it("computes the same by table as by definition for any key and input", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 52 }), fc.uint8Array({ maxLength: 36 }), (key, input) => {
        expect(new ToeplitzTable(key).hash(input)).toBe(toeplitz(key, input));
      }),
      { numRuns: 30 },
    );
  });

  it("refuses inputs longer than the key or the table serves", () => {
    const code = expect.objectContaining({ code: "PERF_CACHE_INVALID_ARGUMENT" });
    expect(() => toeplitz(RSS_KEY, new Uint8Array(37))).toThrow(code);
    expect(() => new ToeplitzTable(RSS_KEY.subarray(0, 10))).toThrow(code);
    expect(() => new ToeplitzTable().hash(new Uint8Array(37))).toThrow(code);
  });
});

function ports(source: number, destination: number): number[] {
  return [source >> 8, source & 255, destination >> 8, destination & 255];
}

describe("SipHash", () => {
  const key = counting(16);
  const sip = (rounds: [number, number], bytes: Uint8Array): [number, number] => {
    const out = new Int32Array(2);
    sipHashBytes(rounds, key, bytes, out);
    return [out[0] >>> 0, out[1] >>> 0];
  };

  it("gives the values of the paper's reference implementation for the bytes 0, 1, 2 …", () => {
    expect(sip([2, 4], counting(0))).toEqual([0xdd0e0e31, 0x726fdb47]);
    expect(sip([2, 4], counting(63))).toEqual([0xeb064572, 0x958a324c]);
    expect(sip([1, 3], counting(0))[0]).toBe(0x050fc4dc);
    expect(sip([1, 3], counting(63))[0]).toBe(0xb7bbb3a8);
    expect(halfSipHash13(counting(8), counting(63)) >>> 0).toBe(0x87178304);
  });

  it("hashes words as their little-endian bytes, also an odd number of them", () => {
    const words = new Int32Array(counting(40).buffer);
    const secret = new Int32Array(key.buffer);
    for (let count = 0; count <= 10; count++) {
      expect(sipHash13Words(secret, words, 0, count) >>> 0).toBe(sip([1, 3], counting(count * 4))[0]);
    }
    expect(() => sipHashBytes([2, 4], counting(15), key, new Int32Array(2))).toThrow("the key has 15 bytes, not 16");
  });
});

describe("the keyed hash of a table", () => {
  const hashKey = Array.from(new Int32Array(counting(16).buffer));
  const words = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 10, maxLength: 10 });

  /** What the table must give: SipHash of the words of the flow that are not always 0. */
  const expected = (key: Int32Array, ipv4Key: boolean): number =>
    ipv4Key
      ? sipHash13Words(hashKey, Int32Array.of(key[0], key[4], key[8], key[9]), 0, 4)
      : sipHash13Words(hashKey, key, 0, 10);

  function check(): void {
    const table = FlowTable.create({ capacity: 1, hashKey });
    fc.assert(
      fc.property(words, fc.boolean(), (list, ipv4Key) => {
        const key = Int32Array.from(list);
        key[9] = ipv4Key ? key[9] & 0xff : (key[9] & 0xff) | FLOW_KEY_IPV6;
        expect(table.hash(key, 0)).toBe(expected(key, ipv4Key));
      }),
    );
  }

  it("is SipHash-1-3 of IPv4 and IPv6 flows, computed by WebAssembly", () => {
    expect(sipHashFunctions(new Int32Array(4))).toBeDefined();
    check();
  });

  it("is the same where there is no WebAssembly, and where it is forbidden", () => {
    try {
      vi.stubGlobal("WebAssembly", undefined);
      expect(sipHashFunctions(new Int32Array(4))).toBeUndefined();
      check();
      vi.stubGlobal("WebAssembly", {});
      expect(sipHashFunctions(new Int32Array(4))).toBeUndefined();
      check();
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("takes every word of keys that are not flow keys", () => {
    const table = FlowTable.create({ capacity: 4, keyWords: 10, hashKey });
    const key = new Int32Array(10);
    const hashes = new Set<number>();
    for (let word = 0; word < 10; word++) {
      key.fill(0);
      key[word] = 1;
      hashes.add(table.hash(key, 0));
    }
    expect(hashes.size).toBe(10);
    key.fill(0);
    const first = table.insert(key, 0, 7, 1);
    key[1] = 1;
    expect(table.lookup(key, 0, 7)).toBe(0);
    expect(table.insert(key, 0, 7, 2)).not.toBe(first);
  });
});

describe("crc", () => {
  it("gives the check values of the catalogue for 123456789", () => {
    const digits = new TextEncoder().encode("123456789");
    expect(~crc32c(digits, -1) >>> 0).toBe(0xe3069283);
    expect(crc32(digits) >>> 0).toBe(0xcbf43926);
    expect(crc16X25(digits)).toBe(0x906e);
  });
});
