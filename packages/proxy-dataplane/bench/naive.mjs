import { internetChecksum } from "@x/proxy-dataplane";
import { BATCH, flowNumbers, udpFrame, warmUp } from "./common.mjs";

const servers = [
  [192, 0, 2, 1],
  [192, 0, 2, 2],
];

/** What one writes without a toolbox: a Buffer per packet, flows in a Map by text, checksums computed anew. */
export function makeNaive({ flows = 1000, length = 64 } = {}) {
  const frames = Array.from({ length: flows }, (_, i) => Buffer.from(udpFrame(i, length)));
  const connections = new Map();
  let turn = 0;
  function translate(packet) {
    if (packet.readUInt16BE(12) !== 0x0800 || packet[14] >> 4 !== 4) return packet;
    const transport = 14 + (packet[14] & 15) * 4;
    const key = `${packet.readUInt32BE(26)}:${packet.readUInt16BE(transport)}-${packet.readUInt32BE(30)}:${packet.readUInt16BE(transport + 2)}/${packet[23]}`;
    let connection = connections.get(key);
    if (connection === undefined) {
      connection = { server: servers[turn++ % servers.length], packets: 0, bytes: 0, lastSeen: 0 };
      connections.set(key, connection);
    }
    connection.packets++;
    connection.bytes += packet.length;
    connection.lastSeen = performance.now();
    packet.set(connection.server, 30);
    packet.writeUInt16BE(1080, transport + 2);
    packet.writeUInt16BE(0, 24);
    packet.writeUInt16BE(internetChecksum(packet, 14, transport), 24);
    packet.writeUInt16BE(0, transport + 6);
    const pseudo = 17 + packet.length - transport;
    const addresses =
      (packet.readUInt32BE(26) >>> 16) +
      (packet.readUInt32BE(26) & 0xffff) +
      packet.readUInt16BE(30) +
      packet.readUInt16BE(32);
    packet.writeUInt16BE(internetChecksum(packet, transport, packet.length, pseudo + addresses), transport + 6);
    return packet;
  }
  const next = flowNumbers(flows);
  const run = () => {
    let sent = 0;
    for (let i = 0; i < BATCH; i++) sent += translate(Buffer.from(frames[next()])).length > 0 ? 1 : 0;
    return sent;
  };
  warmUp(run);
  return run;
}
