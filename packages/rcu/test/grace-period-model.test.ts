import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rcu } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

const CPUS = 4;

const act = fc.record({
  kind: fc.constantFrom(
    "quiescent",
    "quiescent",
    "quiescent",
    "online",
    "offline",
    "request",
    "call",
    "lock",
    "unlock",
    "advance",
  ),
  cpu: fc.nat(CPUS - 1),
  /** Which of two attached objects acts. */
  object: fc.nat(1),
});

/** What must have happened before a request may be answered: the CPUs still to pass. */
interface Request {
  /** Undefined for a callback, which answers itself by running. */
  readonly cookie: number | undefined;
  readonly waitingFor: Set<number>;
}

class Model {
  readonly online = new Set<number>();
  readonly depth: number[] = Array.from({ length: CPUS }, () => 0);
  readonly requests: Request[] = [];
  passed(cpu: number): void {
    for (const request of this.requests) request.waitingFor.delete(cpu);
  }
  add(cookie?: number): Request {
    const request = { cookie, waitingFor: new Set(this.online) };
    this.requests.push(request);
    return request;
  }
}

describe("any history of CPUs that read, pass, come and go", () => {
  it("ends no grace period before every CPU that was online has passed, and ends all soon after", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 120 }), (acts) => {
        const hal = new ManyCpus(CPUS);
        const first = Rcu.create({ hal, callbackCapacity: 256 });
        const model = new Model();
        let early = 0;
        const objects = [first, Rcu.attach(first.handle, { hal })];
        for (const { kind, cpu, object } of acts) {
          hal.cpu = cpu;
          // A CPU's read sections and callbacks belong to one object, as they do to one thread.
          const rcu = kind === "request" || kind === "advance" ? objects[object] : first;
          if (kind === "quiescent" && model.depth[cpu] === 0) {
            model.passed(cpu);
            rcu.quiescent();
          } else if (kind === "online") {
            rcu.online();
            model.online.add(cpu);
          } else if (kind === "offline" && model.depth[cpu] === 0) {
            model.passed(cpu);
            model.online.delete(cpu);
            rcu.offline();
          } else if (kind === "request") {
            model.add(rcu.startPoll());
          } else if (kind === "advance") {
            rcu.advance();
          } else if (kind === "call") {
            const request = model.add();
            rcu.call(() => {
              early += request.waitingFor.size;
            }, 0);
          } else if (kind === "lock" && model.online.has(cpu)) {
            rcu.readLock();
            model.depth[cpu]++;
          } else if (kind === "unlock" && model.depth[cpu] > 0) {
            rcu.readUnlock();
            model.depth[cpu]--;
          }
          for (const request of model.requests) {
            if (answered(first, request)) expect([...request.waitingFor]).toEqual([]);
          }
        }
        expect(early).toBe(0);
        finish(hal, first, model);
        for (const { cookie } of model.requests) if (cookie !== undefined) expect(first.poll(cookie)).toBe(true);
        expect(early).toBe(0);
        expect(first.stats().callbacksPending).toBe(0);
      }),
    );
  });
});

function answered(rcu: Rcu, request: Request): boolean {
  return request.cookie !== undefined && rcu.poll(request.cookie);
}

/** Two rounds of quiescent states by everybody are enough for every request made before. */
function finish(hal: ManyCpus, rcu: Rcu, model: Model): void {
  for (let round = 0; round < 3; round++) {
    for (let cpu = 0; cpu < CPUS; cpu++) {
      hal.cpu = cpu;
      for (; model.depth[cpu] > 0; model.depth[cpu]--) rcu.readUnlock();
      model.passed(cpu);
      rcu.quiescent();
    }
  }
}
