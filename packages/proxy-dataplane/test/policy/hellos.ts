const half = (value: number): number[] => [(value >> 8) & 255, value & 255];
const text = (value: string): number[] => Array.from(value, (character) => character.charCodeAt(0));
const withLength = (bytes: readonly number[], octets: 1 | 2 | 3): number[] => [
  ...(octets === 3 ? [(bytes.length >> 16) & 255] : []),
  ...(octets > 1 ? [(bytes.length >> 8) & 255] : []),
  bytes.length & 255,
  ...bytes,
];

export interface HelloParts {
  readonly name?: string;
  /** Extensions before and after the name. */
  readonly before?: readonly (readonly number[])[];
  readonly session?: number;
  readonly ciphers?: number;
  readonly nameType?: number;
  readonly noExtensions?: boolean;
}

/** A ClientHello message of RFC 8446, with the handshake's header and without that of a record. */
export function hello(parts: HelloParts = {}): number[] {
  const { name, before = [], session = 32, ciphers = 17, nameType = 0, noExtensions = false } = parts;
  const entry = name === undefined ? [] : [nameType, ...withLength(text(name), 2)];
  const names = name === undefined ? [] : [...half(0), ...withLength(withLength(entry, 2), 2)];
  const others = before.flatMap((data) => [...half(43), ...withLength(data, 2)]);
  const extensions = noExtensions
    ? []
    : withLength([...others, ...names, ...half(16), ...withLength([0, 3, 2, 104, 50], 2)], 2);
  const body = [
    ...half(0x303),
    ...Array.from({ length: 32 }, (_, i) => i),
    ...withLength(
      Array.from({ length: session }, () => 7),
      1,
    ),
    ...withLength(
      Array.from({ length: ciphers * 2 }, (_, i) => i),
      2,
    ),
    ...withLength([0], 1),
    ...extensions,
  ];
  return [1, ...withLength(body, 3)];
}

/** A message in records of at most `size` bytes. */
export function records(message: readonly number[], size = 16384): Uint8Array {
  const out: number[] = [];
  for (let at = 0; at < message.length; at += size) {
    out.push(22, 3, 1, ...withLength(message.slice(at, at + size), 2));
  }
  return Uint8Array.from(out);
}

export const ascii = (value: string): Uint8Array => Uint8Array.from(text(value));

export interface DnsRecord {
  /** A pointer into the message, or a name. */
  readonly owner: number | string;
  readonly type: number;
  readonly ttl: number;
  readonly data: readonly number[];
}

export const dnsName = (name: string): number[] => [...name.split(".").flatMap((one) => withLength(text(one), 1)), 0];

/** A DNS message with one question. */
export function dnsMessage(name: string, answers: readonly DnsRecord[] | undefined, flags = 0x8180): Uint8Array {
  const records = (answers ?? []).flatMap(({ owner, type, ttl, data }) => [
    ...(typeof owner === "number" ? half(0xc000 | owner) : dnsName(owner)),
    ...half(type),
    ...half(1),
    ...half(ttl >>> 16),
    ...half(ttl & 0xffff),
    ...withLength(data, 2),
  ]);
  const header = [
    0x12,
    0x34,
    ...half(answers === undefined ? 0x0100 : flags),
    ...half(1),
    ...half(answers?.length ?? 0),
    0,
    0,
    0,
    0,
  ];
  return Uint8Array.from([...header, ...dnsName(name), ...half(1), ...half(1), ...records]);
}
