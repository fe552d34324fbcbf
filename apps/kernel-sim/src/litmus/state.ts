import { ADDRESS_BASE, type LitmusCode } from "./instructions.ts";

/** Read sections a thread can have under way in one domain: those that ended count until the stores before their end are out. */
export const SECTIONS = 4;

/*
 * A thread. Its store buffer is a queue of pairs, oldest first: an address and a value; or the end of a read section, a domain as
 * a negative number (see endOf) and the section. `awaited` are the sections a grace period still waits for, bit by bit.
 */
export interface ThreadState {
  next: number;
  readonly registers: number[];
  readonly buffer: number[];
  /** Nesting of RCU read sections, and the section that the outermost one is. */
  nesting: number;
  section: number;
  awaited: number | undefined;
}

/**
 * A state of the machine. `sections`: by domain, number 0 being RCU and others the number of their location plus 1, one bit for
 * each read section under way; see {@link sectionBit}.
 */
export interface State {
  readonly memory: number[];
  readonly sections: number[];
  readonly threads: ThreadState[];
}

/** The bit of a thread's read section. */
export function sectionBit(thread: number, section: number): number {
  return 1 << (thread * SECTIONS + section);
}

/** What stands in a store buffer for the end of a read section of a domain. */
export function endOf(domain: number): number {
  return -1 - domain;
}

export function isAddress(value: number, code: LitmusCode): boolean {
  return value >= ADDRESS_BASE && value < ADDRESS_BASE + code.locations.length;
}

export function initialState(code: LitmusCode): State {
  const threads = code.threads.map(({ initial }) => ({
    next: 0,
    registers: [...initial],
    buffer: [],
    nesting: 0,
    section: 0,
    awaited: undefined,
  }));
  return { memory: [...code.memory], sections: Array.from({ length: code.locations.length + 1 }, () => 0), threads };
}

export function copyState(state: State): State {
  return {
    memory: [...state.memory],
    sections: [...state.sections],
    threads: state.threads.map((thread) => ({
      ...thread,
      registers: [...thread.registers],
      buffer: [...thread.buffer],
    })),
  };
}

/** A text that equal states share and others do not. */
export function stateKey({ memory, sections, threads }: State): string {
  const parts = threads.map(
    ({ next, registers, buffer, nesting, section, awaited }) =>
      `${next},${nesting},${section},${awaited ?? ""}:${registers.join()}:${buffer.join()}`,
  );
  return `${memory.join()};${sections.join()};${parts.join(";")}`;
}
