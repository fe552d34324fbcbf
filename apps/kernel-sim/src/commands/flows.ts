import { openCapture, summarizeFlows, type FlowSummary } from "@x/proxy-dataplane";
import Table from "cli-table3";
import { Command } from "commander";
import { print, printJson, readInput } from "./input.ts";

/** Conversations the text shows; JSON has them all. */
const SHOWN_CONVERSATIONS = 20;

/** `kernel-sim flows FILE [--json]`. */
export function flowsCommand(): Command {
  return new Command("flows")
    .description("what the parser and the tracker see in a capture (pcap, pcapng)")
    .argument("<file>", "the capture")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  kernel-sim flows capture.pcapng --json")
    .action((file: string, options: { json?: boolean }) => {
      const summary = summarizeFlows(openCapture(readInput(file), file));
      if (options.json === true) printJson(summary);
      else print(flowsText(summary));
    });
}

function flowsText(summary: FlowSummary): string {
  const { packets, bytes, wireBytes, ipv4, ipv6, arp, other, tcp, udp, icmp, fragments, malformed, checksums, flows } =
    summary;
  const conversations = [...summary.conversations].sort((a, b) => volume(b) - volume(a));
  const table = new Table({
    head: ["proto", "A", "B", "A→B packets", "bytes", "B→A packets", "bytes"],
    style: { head: [], border: [] },
    colAligns: ["left", "left", "left", "right", "right", "right", "right"],
  });
  for (const c of conversations.slice(0, SHOWN_CONVERSATIONS)) {
    table.push([
      c.proto,
      `${c.a} ${c.aPort}`,
      `${c.b} ${c.bPort}`,
      c.packetsAtoB,
      c.bytesAtoB,
      c.packetsBtoA,
      c.bytesBtoA,
    ]);
  }
  const left = conversations.length - SHOWN_CONVERSATIONS;
  return [
    `packets    ${packets} (${bytes} bytes captured, ${wireBytes} on the wire)`,
    `network    ${ipv4} IPv4, ${ipv6} IPv6, ${arp} ARP, ${other} other; ${fragments} fragments, ${malformed} malformed`,
    `transport  ${tcp} TCP, ${udp} UDP, ${icmp} ICMP`,
    `flows      ${flows.tcp} TCP, ${flows.udp} UDP, ${flows.other} other`,
    `checksums  IP ${checksums.ipGood} good ${checksums.ipBad} bad, TCP ${checksums.tcpGood} good ${checksums.tcpBad} bad, UDP ${checksums.udpGood} good ${checksums.udpBad} bad`,
    table.toString(),
    left > 0 ? `… and ${left} more; --json has them all\n` : "",
  ].join("\n");
}

function volume(c: { bytesAtoB: number; bytesBtoA: number }): number {
  return c.bytesAtoB + c.bytesBtoA;
}
