import { expect } from "vitest";
import {
  formatAddress,
  PacketInfo,
  parseFrame,
  ParseResult,
  verifyIpChecksum,
  verifyTransportChecksum,
} from "@x/proxy-dataplane";

/** The server of most tests, and TCP flags. */
export const SERVER = [192, 0, 2, 1];
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const ACK = 16;

/** Addresses and ports as text. */
export function ends(frame: Uint8Array): string {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  const isIpv6 = info.network === 6;
  const [from, to] = [formatAddress(info.key, 0, isIpv6), formatAddress(info.key, 4, isIpv6)];
  return `${from} ${info.sourcePort} > ${to} ${info.destinationPort}`;
}

/** Checksum states by full computation. */
export function sums(frame: Uint8Array): [number, number] {
  const info = new PacketInfo();
  expect(parseFrame(frame, 0, frame.length, frame.length, 1, info)).toBe(ParseResult.Ok);
  return [verifyIpChecksum(frame, info), verifyTransportChecksum(frame, info)];
}

/** Options of a frame from the server to the client. */
export const fromServer = { source: SERVER, destination: [10, 0, 0, 1], sourcePort: 1080, destinationPort: 1000 };
