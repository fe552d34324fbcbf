/** What a session waits for. */
export const Phase = {
  ProxyHeader: 0,
  Request: 1,
  /** What rules want to know: the original destination, the process, the name that the client asks for. */
  Facts: 2,
  Connecting: 3,
  Upstream: 4,
  Relaying: 5,
  /** A command that has the connection for itself: BIND, UDP ASSOCIATE. */
  Command: 6,
  Lingering: 7,
  Closed: 8,
} as const;
/** A value of {@link (Phase:variable)}. */
export type Phase = (typeof Phase)[keyof typeof Phase];

/** What a command does with the connection of its client. */
export interface CommandHandler {
  onClientData(bytes: Uint8Array, from: number, to: number): void;
  onDeadline(): void;
  /** The session is over. */
  dispose(): void;
}
