/**
 * The proxy on real sockets, across worker threads.
 *
 * @packageDocumentation
 */
export { RunningProxy, startProxy, type ProxyEvents, type ProxyStatus } from "./proxy.ts";
export { control, serveControl, serveMetrics, type ControlActions } from "./control.ts";
export { NetEngine } from "./net-engine.ts";
