import { expect, test } from "vitest";
import { engines } from "./engines.ts";
import { listen } from "./peers.ts";

test.each(engines)(
  "%s engine: a reset right behind the end of a direction leaves nothing that takes bytes",
  async (_name, make) => {
    let tell: (error: string) => void = () => undefined;
    const told = new Promise<string>((resolve) => (tell = resolve));
    const server = await listen((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => tell(error.code ?? ""));
      // Who has read the end of the other direction is told of a reset only when it sends.
      const timer = setInterval(() => socket.write("still there?"), 5);
      socket.on("close", () => clearInterval(timer));
      socket.resume();
    });
    make().connect(
      { family: 4, host: "127.0.0.1", port: server.port },
      {
        onConnect(socket) {
          socket.end();
          socket.reset();
        },
        onData: () => undefined,
        onEnd: () => undefined,
        onDrain: () => undefined,
        onClose: () => undefined,
      },
    );
    expect(["ECONNRESET", "EPIPE"]).toContain(await told);
    await server.close();
  },
);
