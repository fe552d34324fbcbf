import { endpointText } from "../relay/connection-table.ts";
import type { RelayFailure } from "../relay/failure.ts";
import type { Flow } from "../relay/flow.ts";

/** The line of the access log for a connection or UDP flow that is over: one JSON object. */
export function accessLine(flow: Flow, failure: RelayFailure, wallMs: number, cpu: number): string {
  const { request, core } = flow;
  const nowMs = core.engine.nowMs();
  const host = request.family === 6 ? `[${request.host}]` : request.host;
  const target = request.port === 0 ? host : `${host}:${request.port}`;
  const connectMs = flow.connectedMs === 0 ? -1 : Math.round(flow.connectedMs - flow.startMs);
  return (
    `{"time":"${new Date(wallMs).toISOString()}","id":${core.table.id(flow.object)},"worker":${cpu}` +
    `,"listener":${JSON.stringify(flow.listener.name)},"protocol":"${flow.protocol}"` +
    `,"client":${JSON.stringify(endpointText(flow.source))},"user":${JSON.stringify(flow.user)}` +
    `,"target":${JSON.stringify(target)},"host":${JSON.stringify(flow.hostName)},"upstream":${JSON.stringify(flow.upstreamName)}` +
    `,"result":"${failure === "" ? "ok" : failure}","clientBytes":${flow.clientBytes},"serverBytes":${flow.serverBytes}` +
    `,"connectMs":${connectMs},"durationMs":${Math.round(nowMs - flow.startMs)}}`
  );
}
