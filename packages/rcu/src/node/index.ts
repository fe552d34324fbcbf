/**
 * RCU for the event loops and worker threads of Node.js.
 *
 * @packageDocumentation
 */
export { joinRcu, type JoinedRcu, type JoinRcuOptions } from "./join-rcu.ts";
export { reportDeadOnExit, warnOfStalls } from "./supervise.ts";
