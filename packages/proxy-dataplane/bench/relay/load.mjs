// The load: servers and clients in a process of their own, over the epoll engine where it runs (else the figures are those of the load). Told by
// messages what to do: see `actions`.
import { makeEngine, chooseEngine } from "../../dist/node/choose-engine.js";

const REQUEST_BYTES = 64;
const RESPONSE_BYTES = 192;
const [KEEP, CLOSE] = [1, 2];
/** Bulk data: every page begins with its number in the stream, so that what is lost, doubled or moved shows. */
const PAGE_BYTES = 4096;
const PAGES = 32;
/** Pieces of so many pages that one connection may send before it is the others' turn. */
const PIECES = 32;
const PIECE_BYTES = 256 * 1024;

const engine = makeEngine(chooseEngine("auto").name, undefined);
// Timers of Node.js are used beside it.
engine.hold();
const localhost = (port) => ({ family: 4, host: "127.0.0.1", port });
const response = new Uint8Array(RESPONSE_BYTES).fill(65);

class Owner {
  onConnect() {}
  onData() {}
  onEnd() {}
  onDrain() {}
  onClose() {}
}

/** Counts and checks what comes, and says at the end how much it was; -1: it was not what was sent. */
class Sink extends Owner {
  #bytes = 0;
  #isRight = true;

  /** Sockets of the epoll engine are read without the way round by the owner, as they are while they are joined. */
  attach(socket) {
    if (socket.loop !== undefined) socket.tunnel = this;
    return this;
  }

  onReady(socket) {
    for (let piece = 0; socket.canRead; piece++) {
      if (piece === PIECES) {
        socket.loop.queue(socket);
        break;
      }
      const count = socket.receive(PIECE_BYTES);
      if (count > 0) this.onData(socket, socket.loop.input.bytes, 0, count);
      else if (socket.hasEnded || socket.error !== "") {
        this.onEnd(socket);
        break;
      }
    }
  }

  onData(_socket, bytes, from, to) {
    // A number that a piece cuts is not looked at; the next page's is.
    let at = from + ((PAGE_BYTES - (this.#bytes % PAGE_BYTES)) % PAGE_BYTES);
    for (; at + 3 <= to; at += PAGE_BYTES) {
      const page = (this.#bytes + at - from) / PAGE_BYTES;
      if ((bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16)) !== (page & 0xff_ffff)) this.#isRight = false;
    }
    this.#bytes += to - from;
  }

  onEnd(socket) {
    socket.tunnel = undefined;
    socket.write(new Uint8Array(Float64Array.of(this.#isRight ? this.#bytes : -1).buffer), 0, 8);
    socket.end();
  }
}

/** Answers requests of a fixed length; the first byte of one says whether the connection goes on. */
class Answerer extends Owner {
  #bytes = 0;

  onData(socket, bytes, from, to) {
    const isLast = bytes[from] === CLOSE;
    for (this.#bytes += to - from; this.#bytes >= REQUEST_BYTES; this.#bytes -= REQUEST_BYTES) {
      socket.write(response, 0, RESPONSE_BYTES);
    }
    if (isLast) socket.end();
  }

  onEnd(socket) {
    socket.end();
  }
}

function serve(port) {
  const listener = (make) => ({
    onAccept(_listener, socket) {
      socket.owner = make(socket);
      socket.resume();
    },
    onListenError(_listener, error) {
      throw new Error(error);
    },
  });
  engine.listen(
    { endpoint: localhost(port) },
    listener((socket) => new Sink().attach(socket)),
  );
  engine.listen(
    { endpoint: localhost(port + 1) },
    listener(() => new Answerer()),
  );
  engine.udp(
    { endpoint: localhost(port + 2) },
    { onDatagram: (udp, bytes, from, to, peer) => udp.send(bytes, from, to, peer), onUdpError() {} },
  );
}

/** A connection through the proxy, from where its handshake is over. */
class Client extends Owner {
  socket;
  #steps;
  #waits = 0;

  constructor({ port, target, protocol }) {
    super();
    const [high, low] = [target >>> 8, target & 255];
    const head = new TextEncoder().encode(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\nHost: 127.0.0.1:${target}\r\n\r\n`);
    this.#steps =
      {
        socks5: [
          [[5, 1, 0], 2],
          [[5, 1, 0, 1, 127, 0, 0, 1, high, low], 10],
        ],
        connect: [[head, -1]],
      }[protocol] ?? [];
    this.socket = engine.connect(localhost(port), this);
  }

  onConnect() {
    this.socket.resume();
    this.#next();
  }

  onData(_socket, bytes, from, to) {
    if (this.#waits === 0) return this.onAnswer(bytes, from, to);
    if (this.#waits < 0) this.#waits = Buffer.from(bytes.subarray(from, to)).includes("\r\n\r\n") ? 0 : -1;
    else this.#waits -= to - from;
    if (this.#waits === 0) this.#next();
  }

  onAnswer() {}

  #next() {
    const step = this.#steps.shift();
    if (step === undefined) this.onReady();
    else {
      this.#waits = step[1];
      this.socket.write(Uint8Array.from(step[0]), 0, step[0].length);
    }
  }
}

/** Write the numbers of pages. */
function stamp(bytes, first, count) {
  for (let page = 0; page < count; page++) {
    const at = page * PAGE_BYTES;
    bytes[at] = first + page;
    bytes[at + 1] = (first + page) >>> 8;
    bytes[at + 2] = (first + page) >>> 16;
  }
}

class BulkClient extends Client {
  sent = 0;
  told = 0;
  #isBlocked = true;
  #ticking;
  #pages = new Uint8Array(PAGES * PAGE_BYTES);
  #isOver = false;
  #done;

  constructor(options, done) {
    super(options);
    this.#done = done;
  }

  onReady() {
    this.#isBlocked = false;
    if (this.socket.loop === undefined) {
      this.#ticking = engine.every(1, () => this.#send());
      this.#send();
    } else {
      this.socket.tunnel = { onReady: () => this.#sendDirectly() };
      this.#sendDirectly();
    }
  }

  /** From where the kernel takes it, as the engine sends what it has received. */
  #sendDirectly() {
    const { socket } = this;
    const { output } = socket.loop;
    for (let piece = 0; socket.canWrite && !this.#isOver; piece++) {
      if (piece === PIECES) {
        socket.loop.queue(socket);
        break;
      }
      // What did not fit is sent anew: the page that was cut begins where it would have gone on.
      const from = this.sent % PAGE_BYTES;
      stamp(output.bytes, Math.floor(this.sent / PAGE_BYTES), output.bytes.length / PAGE_BYTES);
      const sent = socket.send(output.address + from, output.bytes.length - from);
      if (sent < 0) {
        socket.fail(socket.error);
        break;
      }
      this.sent += sent;
    }
    if (socket.canRead && this.#isOver) socket.onReady(0);
  }

  onDrain() {
    this.#isBlocked = false;
    this.#send();
  }

  #send() {
    for (let piece = 0; piece < PIECES && !this.#isBlocked && !this.#isOver; piece++) {
      stamp(this.#pages, this.sent / PAGE_BYTES, PAGES);
      this.sent += this.#pages.length;
      this.#isBlocked = !this.socket.write(this.#pages, 0, this.#pages.length);
    }
  }

  stop() {
    this.#isOver = true;
    this.#ticking?.[Symbol.dispose]();
    this.socket.tunnel = undefined;
    this.socket.end();
    this.socket.resume();
  }

  onAnswer(bytes, from, to) {
    if (to - from === 8) this.told = new Float64Array(bytes.slice(from, to).buffer)[0];
  }

  onEnd() {
    this.#done(this);
  }

  onClose(_socket, error) {
    if (error !== "") this.#done(this);
  }
}

class RequestClient extends Client {
  answers = 0;
  #request = new Uint8Array(REQUEST_BYTES);
  #bytes = 0;
  #next;

  constructor(options, next) {
    super(options);
    this.#request[0] = options.keeps === false ? CLOSE : KEEP;
    this.#next = next;
  }

  onReady() {
    this.#bytes = 0;
    this.socket.write(this.#request, 0, REQUEST_BYTES);
  }

  onAnswer(_bytes, from, to) {
    this.#bytes += to - from;
    if (this.#bytes < RESPONSE_BYTES) return;
    this.answers++;
    if (this.#request[0] === KEEP) this.#next(this);
  }

  onEnd() {
    if (this.#request[0] === CLOSE) this.#end(this.#bytes === RESPONSE_BYTES);
  }

  onClose() {
    this.#end(false);
  }

  #end(isRight) {
    if (this.#request[0] === CLOSE) this.#next(this, isRight);
    this.socket.destroy();
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let idle = [];

const actions = {
  /** Megabytes a second over `count` connections; every byte counted at the far end, every page checked. */
  async bulk({ count, seconds, ...options }) {
    const startMs = performance.now();
    const clients = [];
    const over = Array.from(
      { length: count },
      () => new Promise((done) => clients.push(new BulkClient(options, done))),
    );
    setTimeout(() => clients.forEach((client) => client.stop()), seconds * 1000);
    await Promise.all(over);
    const elapsed = performance.now() - startMs;
    // A proxy that breaks half-closed connections lets no answer through.
    const wrong = clients.filter(({ sent, told }) => sent !== told && told !== 0).length;
    return { value: clients.reduce((sum, { sent }) => sum + sent, 0) / elapsed / 1000, wrong };
  },

  /** Connections a second, one request each, `count` at a time. */
  connections({ count, seconds, ...options }) {
    return new Promise((resolve) => {
      const startMs = performance.now();
      let done = 0;
      let wrong = 0;
      let open = 0;
      const begin = () => {
        open++;
        return new RequestClient({ ...options, keeps: false }, (_client, isRight) => {
          open--;
          if (isRight) done++;
          else wrong++;
          if (performance.now() - startMs < seconds * 1000) begin();
          else if (open === 0) resolve({ value: (done / (performance.now() - startMs)) * 1000, wrong });
        });
      };
      for (let i = 0; i < count; i++) begin();
    });
  },

  /** Requests a second over `count` connections, one at a time on each. */
  async requests({ count, seconds, ...options }) {
    let isOver = false;
    const clients = Array.from(
      { length: count },
      () => new RequestClient(options, (client) => (isOver ? undefined : client.onReady())),
    );
    const total = () => clients.reduce((sum, { answers }) => sum + answers, 0);
    await sleep(200);
    const [before, startMs] = [total(), performance.now()];
    await sleep(seconds * 1000);
    const value = ((total() - before) / (performance.now() - startMs)) * 1000;
    isOver = true;
    clients.forEach(({ socket }) => socket.destroy());
    return { value, wrong: clients.filter(({ answers }) => answers === 0).length };
  },

  /** Open connections that are used once and stay. */
  async hold({ count, ...options }) {
    const answered = [];
    for (let from = 0; from < count; from += 100) {
      const some = Array.from({ length: Math.min(100, count - from) }, () => {
        return new Promise((resolve) => idle.push(new RequestClient(options, resolve)));
      });
      answered.push(...(await Promise.all(some)));
    }
    return { value: answered.length, wrong: 0 };
  },

  /** Use them once more, and close them. */
  async drop() {
    const before = idle.map(({ answers }) => answers);
    for (const client of idle) client.onReady();
    const lateMs = performance.now() + 5000;
    while (idle.some(({ answers }, i) => answers === before[i]) && performance.now() < lateMs) await sleep(10);
    const wrong = idle.filter(({ answers }, i) => answers === before[i]).length;
    for (const { socket } of idle) socket.destroy();
    idle = [];
    return { value: 0, wrong };
  },

  /** Datagrams of `size` bytes a second, there and back, `count` under way. */
  async datagrams({ count, seconds, port, size }) {
    const bytes = new Uint8Array(size);
    let back = 0;
    const owner = {
      onDatagram(udp) {
        back++;
        udp.send(bytes, 0, size);
      },
      onUdpError() {},
    };
    const udp = engine.udp({ endpoint: localhost(0), connectTo: localhost(port) }, owner);
    let seen = -1;
    // What a full queue has dropped must not stand still for ever.
    const timer = setInterval(() => {
      if (back === seen) for (let i = 0; i < count; i++) udp.send(bytes, 0, size);
      seen = back;
    }, 20);
    for (let i = 0; i < count; i++) udp.send(bytes, 0, size);
    await sleep(100);
    const [before, startMs] = [back, performance.now()];
    await sleep(seconds * 1000);
    const value = ((back - before) / (performance.now() - startMs)) * 1000;
    clearInterval(timer);
    udp.close();
    return { value, wrong: 0 };
  },
};

serve(Number(process.argv[2]));
process.on(
  "message",
  ({ action, ...options }) => void actions[action](options).then((result) => process.send?.(result)),
);
process.send?.(engine.name);
