/** What a session waits for. */
export const Phase = {
  ProxyHeader: 0,
  Request: 1,
  Connecting: 2,
  Upstream: 3,
  Relaying: 4,
  /** A command that has the connection for itself: BIND, UDP ASSOCIATE. */
  Command: 5,
  Lingering: 6,
  Closed: 7,
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
