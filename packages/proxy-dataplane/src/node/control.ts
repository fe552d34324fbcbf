import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { chmodSync, existsSync, unlinkSync } from "node:fs";
import { CodedError } from "@x/smp";
import { DataplaneError } from "../errors.ts";
import { listenEndpoint } from "../relay/endpoints-text.ts";
import { metricsText } from "./metrics.ts";
import type { RunningProxy } from "./proxy.ts";

/**
 * What the control socket can have done that only the program knows how to do.
 *
 * @public
 */
export interface ControlActions {
  /** Read the configuration again. Returns its version. */
  readonly reload: () => Promise<number>;
  /** Drain and end. Returns at once. */
  readonly drain: (timeoutMs: number | undefined) => void;
}

type Handler = (proxy: RunningProxy, query: URLSearchParams, actions: ControlActions) => unknown;

const ROUTES: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["GET /status", (proxy) => proxy.status()],
  ["GET /connections", (proxy) => proxy.connections()],
  ["POST /kill", async (proxy, query) => ({ ended: await proxy.kill(Number(query.get("id"))) })],
  ["POST /reload", async (_proxy, _query, actions) => ({ version: await actions.reload() })],
  ["POST /reopen-logs", async (proxy) => ({ done: await proxy.reopenLogs().then(() => true) })],
  [
    "POST /drain",
    (_proxy, query, actions) => {
      const timeout = query.get("timeoutMs");
      actions.drain(timeout === null ? undefined : Number(timeout));
      return { draining: true };
    },
  ],
]);

/**
 * Serve the control commands as HTTP on a Unix socket that only its owner may use: `GET /status`, `/connections`, `/metrics`, `POST /kill?id=N`,
 * `/reload`, `/drain?timeoutMs=N`, `/reopen-logs`. Answers are JSON. Rejects with `RELAY_LISTEN`.
 *
 * @public
 */
export async function serveControl(proxy: RunningProxy, path: string, actions: ControlActions): Promise<Server> {
  if (existsSync(path) && !(await isAnswered(path))) unlinkSync(path);
  const server = createServer((message, response) => void answer(proxy, message, response, actions));
  await listening(server, () => server.listen(path), path);
  chmodSync(path, 0o600);
  return server;
}

/**
 * Serve `GET /metrics` for Prometheus. Rejects with `RELAY_LISTEN`.
 *
 * @public
 */
export async function serveMetrics(proxy: RunningProxy, where: string): Promise<Server> {
  const endpoint = listenEndpoint(where);
  if (endpoint === undefined) throw new DataplaneError("RELAY_LISTEN", `${where} is no address and port`);
  const { host, port } = endpoint;
  const server = createServer((message, response) => {
    if (message.method === "GET" && message.url?.split("?")[0] === "/metrics") void metrics(proxy, response);
    else send(response, 404, { error: "there is /metrics only" });
  });
  await listening(server, () => server.listen(endpoint.family === 0 ? { path: host } : { host, port }), where);
  return server;
}

function listening(server: Server, listen: () => void, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(new DataplaneError("RELAY_LISTEN", `cannot listen on ${where}: ${error.code}`, {}, { cause: error })),
    );
    server.once("listening", resolve);
    listen();
  });
}

/** Whether a process listens behind a socket's file. */
function isAnswered(path: string): Promise<boolean> {
  return control(path, "GET", "/status").then(
    () => true,
    () => false,
  );
}

async function answer(
  proxy: RunningProxy,
  message: IncomingMessage,
  response: ServerResponse,
  actions: ControlActions,
): Promise<void> {
  const url = new URL(message.url ?? "/", "http://control");
  if (message.method === "GET" && url.pathname === "/metrics") return metrics(proxy, response);
  const handler = ROUTES.get(`${message.method} ${url.pathname}`);
  if (handler === undefined) return send(response, 404, { error: "there is no such command" });
  try {
    send(response, 200, await handler(proxy, url.searchParams, actions));
  } catch (error) {
    const code = error instanceof CodedError ? error.code : "RELAY_INTERNAL";
    const location = error instanceof CodedError ? error.location : {};
    send(response, 400, { error: (error as Error).message, code, ...location });
  }
}

async function metrics(proxy: RunningProxy, response: ServerResponse): Promise<void> {
  const text = metricsText(proxy, await proxy.connections());
  response.writeHead(200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" }).end(text);
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(`${JSON.stringify(value)}\n`);
}

/**
 * Ask a proxy through its control socket. Rejects with `RELAY_CONTROL` where nobody answers there, or the answer is an error.
 *
 * @public
 */
export function control(path: string, method: "GET" | "POST", command: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const failed = (message: string, cause?: unknown): void =>
      reject(new DataplaneError("RELAY_CONTROL", message, { file: path }, { cause }));
    const asked = request({ socketPath: path, method, path: command }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("error", (error) => failed("the proxy broke off", error));
      response.on("end", () => {
        const value = JSON.parse(text) as { error?: string };
        if (response.statusCode === 200) resolve(value);
        else failed(value.error ?? "the proxy refuses");
      });
    });
    asked.on("error", (error: NodeJS.ErrnoException) => failed(`no proxy answers: ${error.code}`, error));
    asked.end();
  });
}
