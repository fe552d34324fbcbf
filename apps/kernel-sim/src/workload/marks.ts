/** A mark names a packet of the capture and, above it, the client that plays it. */
const CLIENT_SHIFT = 24;
const PACKET_MASK = (1 << CLIENT_SHIFT) - 1;

/** Most packets a capture may hold to be named by marks. */
export const MAX_PACKETS: number = PACKET_MASK;

export function markOf(packet: number, client: number): number {
  return (client << CLIENT_SHIFT) | packet;
}

export function packetOf(mark: number): number {
  return mark & PACKET_MASK;
}

export function clientOf(mark: number): number {
  return mark >>> CLIENT_SHIFT;
}
