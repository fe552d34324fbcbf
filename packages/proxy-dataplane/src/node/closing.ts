import type { SocketOwner } from "../relay/engine.ts";

/** Owns a socket whose owner wants to hear nothing more of it. */
export const NOBODY: SocketOwner = {
  onConnect() {},
  onData() {},
  onEnd() {},
  onDrain() {},
  onClose() {},
};

/** How long a closing socket may take to send what it holds. */
export const DESTROY_MS = 5000;
