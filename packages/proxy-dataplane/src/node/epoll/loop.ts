import { Arena, type Piece } from "./arena.ts";
import { Descriptors } from "./descriptors.ts";
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, SOCK_CLOEXEC, type Libc } from "./libc.ts";
import { Timers } from "./timers.ts";

/** Events that are fetched at once. */
const EVENTS = 256;
/** Words of a `struct epoll_event`, which is packed on x86-64 alone, and where its data begin. */
const [EVENT_WORDS, DATA] = process.arch === "x64" ? [3, 1] : [4, 2];
/** Largest piece that is received at once, and room for what is to be sent. */
export const INPUT_BYTES: number = 256 * 1024;
export const OUTPUT_BYTES: number = 64 * 1024;
const NAME_BYTES = 256;
/** Node's own loop gets a turn within this, while there is anything to do. */
const TURN_MS = 2;
const WAIT_MS_MAX = 1000;
/** Stands for the descriptor of Node's loop in an event. */
const NODE = -1;

/** Something with a descriptor that the loop looks after. */
export interface Watcher {
  readonly fd: number;
  /** Tells it from another that has had the same descriptor. Belongs to the loop, as `isQueued` does. */
  generation: number;
  isQueued: boolean;
  /** Events have come; 0: it is its turn in the queue. */
  onReady(events: number): void;
}

/**
 * An event loop over epoll within the one of Node.js. A turn of it is an immediate, so Node's loop goes round between two turns; while there is nothing
 * to do a turn waits, for its own descriptors and for the one of Node's loop, which is readable as soon as a message of another thread, a
 * name look-up or a file is to be served. So neither loop waits behind the other's back:
 *
 *     Node: … ─▶ poll ─▶ check: turn { epoll_wait { sockets, Node's epoll } ─▶ events ─▶ queue ─▶ timers }* ─▶ …
 *
 * What Node has been given to watch only just now is not in its epoll yet: after something has happened, waits are 1 ms at most, and then Node gets
 * its turn. Timers and immediates of Node are not in there at all, and as late as the next timer of this loop; whoever needs them sooner
 * holds the loop, whose waits are 1 ms then.
 *
 * It runs while it watches anything.
 */
export class EpollLoop {
  readonly libc: Libc;
  readonly descriptors: Descriptors;
  /** Receive here, use it up, and forget it: the next to receive is another. */
  readonly input: Piece;
  /** Put here what is to be sent at once. */
  readonly output: Piece;
  /** Room for a socket's name, and words for its length and for options. */
  readonly name: Piece;
  readonly option: Piece;
  /** Nothing is watched any more: close what is kept for later. */
  onRest: () => void = () => undefined;
  readonly #events: Piece;
  readonly #control: Piece;
  readonly #watchers: (Watcher | undefined)[] = [];
  readonly #timers = new Timers();
  #watched = 0;
  #generation = 0;
  #epoll = -1;
  #nowMs = 0;
  #queue: Watcher[] = [];
  #tasks: (() => void)[] = [];
  #held = 0;
  #isTurning = false;
  #isScheduled = false;
  #nodeIsReady = false;
  /** Since when something has happened that Node does not know of; Infinity: nothing has. */
  #dirtySinceMs = Infinity;
  readonly #onImmediate = (): void => this.#turn();

  /** @param opened - a byte for every descriptor, 1 while the loop has it open, for whoever must close them in its place */
  constructor(libc: Libc, opened: Uint8Array | undefined) {
    this.libc = libc;
    this.descriptors = new Descriptors(libc, opened);
    const arena = new Arena(libc, INPUT_BYTES + OUTPUT_BYTES + EVENTS * EVENT_WORDS * 4 + 3 * NAME_BYTES);
    this.input = arena.piece(INPUT_BYTES);
    this.output = arena.piece(OUTPUT_BYTES);
    this.#events = arena.piece(EVENTS * EVENT_WORDS * 4);
    this.#control = arena.piece(NAME_BYTES);
    this.name = arena.piece(NAME_BYTES);
    this.option = arena.piece(NAME_BYTES);
  }

  /** Milliseconds, as of the last events in a turn. */
  nowMs(): number {
    return this.#isTurning ? this.#nowMs : performance.now();
  }

  get isTurning(): boolean {
    return this.#isTurning;
  }

  /** Look after a descriptor from now on. False: the kernel refuses. */
  watch(watcher: Watcher, events: number): boolean {
    if (this.#epoll < 0 && !this.#open()) return false;
    const generation = (this.#generation = (this.#generation + 1) & 0x7fff_ffff);
    if (!this.#add(watcher.fd, events, watcher.fd, generation)) return false;
    watcher.generation = generation;
    this.#watchers[watcher.fd] = watcher;
    this.#watched++;
    this.#schedule();
    return true;
  }

  /** Look after a descriptor no longer. */
  ignore(watcher: Watcher): void {
    if (this.#watchers[watcher.fd] === undefined) return;
    this.#watchers[watcher.fd] = undefined;
    this.#watched--;
    this.libc.epollControl(this.#epoll, EPOLL_CTL_DEL, watcher.fd, this.#control.address);
  }

  /** Close a descriptor, whether it is watched or not. */
  close(fd: number): void {
    if (this.#watchers[fd] !== undefined) {
      this.#watchers[fd] = undefined;
      this.#watched--;
    }
    this.descriptors.close(fd);
  }

  /** Call `onReady(0)` after the events at hand. */
  queue(watcher: Watcher): void {
    if (watcher.isQueued) return;
    watcher.isQueued = true;
    this.#queue.push(watcher);
    this.#schedule();
  }

  /** Call back from the loop, soon. */
  post(task: () => void): void {
    this.#tasks.push(task);
    this.#schedule();
  }

  /** Call back once in `delayMs`. */
  after(delayMs: number, call: () => void): Disposable {
    const timer = this.#timers.add(this.nowMs() + delayMs, call);
    this.#schedule();
    return timer;
  }

  /** Call back about every `intervalMs`. */
  every(intervalMs: number, call: () => void): Disposable {
    let timer: Disposable;
    const again = (): void => {
      timer = this.after(intervalMs, again);
      call();
    };
    timer = this.after(intervalMs, again);
    return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
  }

  hold(): void {
    this.#held++;
  }

  release(): void {
    this.#held--;
  }

  #isNeeded(): boolean {
    return this.#watched > 0 || this.#queue.length > 0 || this.#tasks.length > 0 || this.#timers.size > 0;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isTurning) return;
    this.#isScheduled = true;
    setImmediate(this.#onImmediate);
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#isTurning = true;
    this.#nowMs = performance.now();
    this.#dirtySinceMs = this.#nodeIsReady ? this.#nowMs : Infinity;
    this.#nodeIsReady = false;
    try {
      while (this.#isNeeded() && this.#round());
    } finally {
      this.#isTurning = false;
      if (this.#isNeeded()) this.#schedule();
      else this.#rest();
    }
  }

  /** Returns whether Node can wait for another round. */
  #round(): boolean {
    this.#runTasks();
    if (this.#epoll < 0 && !this.#open()) return false;
    const count = this.libc.epollWait(this.#epoll, this.#events.address, EVENTS, this.#waitMs());
    this.#nowMs = performance.now();
    if (count > 0) this.#dispatch(count);
    this.#runQueue();
    const hasRun = this.#timers.run(this.#nowMs);
    if (count > 0 || hasRun) this.#dirtySinceMs = Math.min(this.#dirtySinceMs, this.#nowMs);
    if (this.#nodeIsReady || (count <= 0 && !hasRun && (this.#held > 0 || this.#dirtySinceMs < Infinity))) return false;
    return this.#nowMs - this.#dirtySinceMs < TURN_MS;
  }

  #waitMs(): number {
    if (this.#queue.length > 0 || this.#tasks.length > 0) return 0;
    const mostMs = this.#held > 0 || this.#dirtySinceMs < Infinity ? 1 : WAIT_MS_MAX;
    return Math.max(0, Math.min(mostMs, Math.ceil(this.#timers.nextMs - this.#nowMs)));
  }

  #dispatch(count: number): void {
    const { words } = this.#events;
    for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) {
      const fd = words[at + DATA];
      if (fd === NODE) this.#nodeIsReady = true;
      else {
        const watcher = this.#watchers[fd];
        // One that was closed by an event before this may have left its number to another.
        if (watcher !== undefined && watcher.generation === words[at + DATA + 1]) watcher.onReady(words[at]);
      }
    }
  }

  #runQueue(): void {
    if (this.#queue.length === 0) return;
    const queue = this.#queue;
    this.#queue = [];
    for (const watcher of queue) {
      watcher.isQueued = false;
      watcher.onReady(0);
    }
  }

  #runTasks(): void {
    if (this.#tasks.length === 0) return;
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
  }

  #open(): boolean {
    this.#epoll = this.descriptors.take(this.libc.epollCreate(SOCK_CLOEXEC));
    return this.#epoll >= 0 && this.#add(this.libc.loopDescriptor(), EPOLLIN, NODE, 0);
  }

  /** Nothing is watched: an engine that is forgotten now leaves nothing open. */
  #rest(): void {
    this.onRest();
    if (this.#epoll >= 0) this.descriptors.close(this.#epoll);
    this.#epoll = -1;
  }

  #add(fd: number, events: number, data: number, generation: number): boolean {
    const { words, address } = this.#control;
    words[0] = events;
    words[DATA] = data;
    words[DATA + 1] = generation;
    return this.libc.epollControl(this.#epoll, EPOLL_CTL_ADD, fd, address) === 0;
  }
}
