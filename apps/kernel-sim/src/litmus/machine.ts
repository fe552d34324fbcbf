import { SimError } from "../errors.ts";
import { ADDRESS_BASE, type Instruction, type LitmusCode } from "./instructions.ts";
import { copyState, endOf, isAddress, sectionBit, SECTIONS, type State, type ThreadState } from "./state.ts";

/** `sc`: sequential consistency. `tso`: each thread's stores wait in a buffer in their order, as on x86. */
export type MemoryModel = "sc" | "tso";

type Access = Extract<Instruction, { readonly kind: "load" | "store" | "update" | "lock" }>;
type Modify = Extract<Instruction, { readonly kind: "update" }>;
type Fence = Extract<Instruction, { readonly kind: "fence" }>;
type Section = Extract<Instruction, { readonly kind: "readLock" | "readUnlock" }>;
type Synchronize = Extract<Instruction, { readonly kind: "synchronize" }>;

/** What becomes of a thread that takes a step: it goes on, it has more to do there, it has to wait, it used a number that is no address. */
type Outcome = "done" | "stays" | "waits" | "fault";

const RCU = 0;
const NO_DOMAIN = -1;

/*
 * The operational form of both models (Sewell et al., "x86-TSO", CACM 53, 2010): a load takes the youngest store of its own buffer
 * to that address, else memory; the machine may move the oldest store of any buffer to memory at any time; a fence waits for the
 * buffer to be empty. Read sections and grace periods as McKenney et al. demand ("Frightening small children and disconcerting
 * grown-ups: concurrency in the Linux kernel", ASPLOS 2018): a grace period is a fence on both sides and ends when every section
 * that was under way when it began has ended; a section has ended when the stores before its end are in memory.
 */
export class LitmusMachine {
  readonly #code: LitmusCode;
  readonly #buffered: boolean;

  constructor(code: LitmusCode, model: MemoryModel) {
    this.#code = code;
    this.#buffered = model === "tso";
  }

  /** Every thread is at its end, and every store in memory. */
  isFinal(state: State): boolean {
    return state.threads.every(({ next, buffer }, thread) => buffer.length === 0 && this.#isAtEnd(thread, next));
  }

  /**
   * Take the steps that no other thread can tell from not yet taking them: computations, stores into the own buffer, fences
   * with nothing to wait for. False when one faults.
   */
  settle(state: State): boolean {
    for (const [thread, now] of state.threads.entries()) {
      while (!this.#isAtEnd(thread, now.next) && this.#isPrivate(now, this.#instruction(thread, now))) {
        if (this.#step(state, thread) === "fault") return false;
      }
    }
    return true;
  }

  /** Call back with every state that one more step leads to; with `undefined` for a step that faults. */
  successors(state: State, found: (next: State | undefined) => void): void {
    for (const [thread, { next, buffer }] of state.threads.entries()) {
      if (buffer.length > 0) {
        const drained = copyState(state);
        this.#drain(drained, thread);
        found(drained);
      }
      if (this.#isAtEnd(thread, next)) continue;
      const stepped = copyState(state);
      const outcome = this.#step(stepped, thread);
      if (outcome !== "waits") found(outcome === "fault" ? undefined : stepped);
    }
  }

  #isAtEnd(thread: number, next: number): boolean {
    return next === this.#code.threads[thread].instructions.length;
  }

  #instruction(thread: number, { next }: ThreadState): Instruction {
    return this.#code.threads[thread].instructions[next];
  }

  #isPrivate({ buffer }: ThreadState, instruction: Instruction): boolean {
    switch (instruction.kind) {
      case "assign":
      case "branch":
        return true;
      case "fence":
        return !waitsAt(instruction, buffer);
      case "store":
        return this.#buffered;
      default:
        return false;
    }
  }

  /** The thread's next instruction. A state that waits is unchanged. */
  #step(state: State, thread: number): Outcome {
    const now = state.threads[thread];
    const instruction = this.#instruction(thread, now);
    const { registers } = now;
    let outcome: Outcome = "done";
    switch (instruction.kind) {
      case "assign":
        registers[instruction.to] = instruction.value(registers);
        break;
      case "branch":
        now.next = instruction.unless(registers) === 0 ? instruction.target : now.next + 1;
        return "done";
      case "fence":
        outcome = waitsAt(instruction, now.buffer) ? "waits" : "done";
        break;
      case "load":
      case "store":
      case "update":
      case "lock":
        outcome = this.#access(state, thread, instruction);
        break;
      case "readLock":
      case "readUnlock":
        outcome = this.#section(state, thread, instruction);
        break;
      case "synchronize":
        outcome = this.#synchronize(state, now, instruction);
        break;
    }
    if (outcome === "done") now.next++;
    return outcome;
  }

  #access(state: State, thread: number, instruction: Access): Outcome {
    const now = state.threads[thread];
    const { registers, buffer } = now;
    const address = instruction.at(registers);
    if (!isAddress(address, this.#code)) return "fault";
    const location = address - ADDRESS_BASE;
    const own = youngest(buffer, address);
    const old = own < 0 ? state.memory[location] : buffer[own + 1];
    switch (instruction.kind) {
      case "load":
        registers[instruction.to] = old;
        return "done";
      case "store":
        buffer.push(address, instruction.value(registers));
        if (!this.#buffered) this.#drain(state, thread);
        return "done";
      case "lock":
        if (old !== 0 || buffer.length > 0) return "waits";
        state.memory[location] = 1;
        return "done";
      default:
        return applyUpdate(state, now, location, old, instruction);
    }
  }

  /** The oldest entry of a thread's buffer takes effect. */
  #drain(state: State, thread: number): void {
    const [at, value] = state.threads[thread].buffer.splice(0, 2);
    if (at >= 0) {
      state.memory[at - ADDRESS_BASE] = value;
      return;
    }
    const domain = endOf(at);
    const bit = sectionBit(thread, value);
    state.sections[domain] &= ~bit;
    for (const [other, now] of state.threads.entries()) {
      if (now.awaited !== undefined && this.#domainOf(this.#instruction(other, now), now) === domain)
        now.awaited &= ~bit;
    }
  }

  #domainOf(instruction: Instruction, { registers }: ThreadState): number {
    if (!("domain" in instruction)) return NO_DOMAIN;
    const address = instruction.domain(registers);
    if (address === 0) return RCU;
    return isAddress(address, this.#code) ? address - ADDRESS_BASE + 1 : NO_DOMAIN;
  }

  #section(state: State, thread: number, instruction: Section): Outcome {
    const now = state.threads[thread];
    const domain = this.#domainOf(instruction, now);
    if (domain === NO_DOMAIN) return "fault";
    if (instruction.kind === "readLock") {
      if (domain === RCU && now.nesting++ > 0) return "done";
      const section = beginSection(state, thread, domain);
      if (domain === RCU) now.section = section;
      now.registers[instruction.to] = section;
      return "done";
    }
    const section = instruction.index?.(now.registers) ?? now.section;
    if (!isUnderWay(state, thread, domain, section)) return "done";
    if (domain === RCU && --now.nesting > 0) return "done";
    now.buffer.push(endOf(domain), section);
    if (!this.#buffered) this.#drain(state, thread);
    return "done";
  }

  /** Two steps: see which sections are under way; go on when they have ended. */
  #synchronize(state: State, now: ThreadState, instruction: Synchronize): Outcome {
    const domain = this.#domainOf(instruction, now);
    if (domain === NO_DOMAIN) return "fault";
    if (now.buffer.length > 0) return "waits";
    if (now.awaited === undefined) {
      now.awaited = state.sections[domain];
      return "stays";
    }
    if (now.awaited !== 0) return "waits";
    now.awaited = undefined;
    return "done";
  }
}

/** An update that stores waits for the stores before it, as x86's locked instructions do; one that does not is a load. */
function applyUpdate(
  state: State,
  { registers, buffer }: ThreadState,
  location: number,
  old: number,
  instruction: Modify,
): Outcome {
  const { update, to } = instruction;
  const stored = update.store(old, registers);
  if (stored !== undefined) {
    if (buffer.length > 0) return "waits";
    state.memory[location] = stored;
  }
  registers[to] = update.result(old, registers);
  return "done";
}

/** The end of a section that is not under way, or that ended already, changes nothing. */
function isUnderWay(state: State, thread: number, domain: number, section: number): boolean {
  const { buffer, nesting } = state.threads[thread];
  if (!(section >= 0 && section < SECTIONS) || (state.sections[domain] & sectionBit(thread, section)) === 0)
    return false;
  if (domain === RCU && nesting === 0) return false;
  for (let at = 0; at < buffer.length; at += 2) {
    if (buffer[at] === endOf(domain) && buffer[at + 1] === section) return false;
  }
  return true;
}

/** A fence is for every store before it, or for those before the end of an SRCU section. */
function waitsAt({ scope }: Fence, buffer: readonly number[]): boolean {
  if (scope === "all") return buffer.length > 0;
  return buffer.some((at, index) => index % 2 === 0 && at < endOf(RCU));
}

function beginSection(state: State, thread: number, domain: number): number {
  for (let section = 0; section < SECTIONS; section++) {
    const bit = sectionBit(thread, section);
    if ((state.sections[domain] & bit) !== 0) continue;
    state.sections[domain] |= bit;
    return section;
  }
  throw new SimError("SIM_INPUT", `a thread has more than ${SECTIONS} read sections under way`, {
    path: `/threads/${thread}`,
  });
}

/** Where the youngest store to `address` is in a buffer; -1: nowhere. */
function youngest(buffer: readonly number[], address: number): number {
  for (let at = buffer.length - 2; at >= 0; at -= 2) if (buffer[at] === address) return at;
  return -1;
}
