import { endpointText } from "../relay/connection-table.ts";
import type { RelayFailure } from "../relay/failure.ts";
import type { Session } from "../relay/session.ts";

/** The line of the access log for a session that is over: one JSON object. */
export function accessLine(session: Session, failure: RelayFailure, wallMs: number, cpu: number): string {
  const { request, core } = session;
  const nowMs = core.engine.nowMs();
  const host = request.family === 6 ? `[${request.host}]` : request.host;
  const target = request.port === 0 ? host : `${host}:${request.port}`;
  const connectMs = session.connectedMs === 0 ? -1 : Math.round(session.connectedMs - session.startMs);
  return (
    `{"time":"${new Date(wallMs).toISOString()}","id":${core.table.id(session.object)},"worker":${cpu}` +
    `,"listener":${JSON.stringify(session.listener.name)},"protocol":"${session.protocol}"` +
    `,"client":${JSON.stringify(endpointText(session.source))},"user":${JSON.stringify(session.user)}` +
    `,"target":${JSON.stringify(target)},"upstream":${JSON.stringify(session.upstreamName)}` +
    `,"result":"${failure === "" ? "ok" : failure}","clientBytes":${session.clientBytes},"serverBytes":${session.serverBytes}` +
    `,"connectMs":${connectMs},"durationMs":${Math.round(nowMs - session.startMs)}}`
  );
}
