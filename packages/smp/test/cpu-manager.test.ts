import { describe, expect, it } from "vitest";
import { CpuManager, CpuMask, CpuState, type CpuInfo, type CpuPlatform } from "../src/index.ts";
import { madtOf } from "./acpi/helpers.ts";
import { SeveralCpus } from "./several-cpus.ts";

const error = (code: string): unknown => expect.objectContaining({ code });
const processor = (apicId: number, flags = 1) => ({ type: 0, acpiProcessorId: apicId + 100, apicId, flags }) as const;
const fourCpus = madtOf([processor(4), processor(2, 0), processor(0), processor(4), processor(6), processor(8)]);

const machine = (cpus = 4, platform?: CpuPlatform) => {
  const hal = new SeveralCpus(cpus);
  const states: number[][] = [];
  const ignored: number[] = [];
  const manager = CpuManager.create({
    hal,
    platform,
    startupTimeoutNs: 1000,
    observer: { onState: (...state) => states.push(state), onIgnored: (apicId) => ignored.push(apicId) },
  });
  return { hal, manager, states, ignored };
};

describe("CpuManager.detectCpus", () => {
  it("finds the enabled processors in the order of the table, the first as boot processor, online", () => {
    const { manager } = machine();
    expect(manager.detectCpus(fourCpus)).toBe(4);
    expect([0, 1, 2, 3].map((id) => manager.getCpu(id).apicId)).toEqual([4, 0, 6, 8]);
    expect(manager.getCpu(0)).toEqual({
      id: 0,
      apicId: 4,
      processorUid: 104,
      state: CpuState.Online,
      isBsp: true,
      enabled: true,
    });
    expect(manager.getCpu(1)).toMatchObject({ state: CpuState.Offline, isBsp: false });
    expect(manager.onlineCount).toBe(1);
  });

  it("puts the boot processor first wherever the table lists it", () => {
    const { manager } = machine();
    manager.detectCpus(fourCpus, 6);
    expect([0, 1, 2, 3].map((id) => manager.getCpu(id).apicId)).toEqual([6, 4, 0, 8]);
    expect([4, 0, 6, 8, 2].map((apicId) => manager.cpuByApicId(apicId))).toEqual([1, 2, 0, 3, -1]);
  });

  it("adds nothing the second time", () => {
    const { manager } = machine();
    manager.detectCpus(fourCpus);
    expect(manager.detectCpus(fourCpus)).toBe(4);
    expect(manager.onlineCount).toBe(1);
  });

  it("ignores processors beyond the possible CPUs and says which", () => {
    const { manager, ignored } = machine(2);
    expect(manager.detectCpus(fourCpus)).toBe(2);
    expect(ignored).toEqual([6, 8]);
  });

  it("refuses a table without the boot processor", () => {
    const { manager } = machine();
    expect(() => manager.detectCpus(fourCpus, 2)).toThrow(error("ACPI_NOT_FOUND"));
    expect(() => manager.detectCpus(madtOf([]))).toThrow(error("ACPI_NOT_FOUND"));
    expect(manager.cpuCount).toBe(0);
  });

  it("keeps 32-bit x2APIC ids", () => {
    const { manager } = machine();
    manager.detectCpus(madtOf([{ type: 9, x2apicId: 0xfffffff0, flags: 1, acpiProcessorUid: 0xffffff00 }]));
    expect(manager.getCpu(0)).toMatchObject({ apicId: 0xfffffff0, processorUid: 0xffffff00 });
    expect(manager.cpuByApicId(0xfffffff0)).toBe(0);
  });
});

describe("CpuManager", () => {
  it("starts a CPU through the platform and counts it when it reports", () => {
    const started: CpuInfo[] = [];
    const { manager, states } = machine(4, { startCpu: (cpu) => started.push(cpu) });
    manager.detectCpus(fourCpus);
    expect(manager.bringCpuOnline(2)).toBe(CpuState.Initializing);
    expect(started).toMatchObject([{ id: 2, apicId: 6, state: CpuState.Initializing }]);
    expect(manager.bringCpuOnline(2)).toBe(CpuState.Initializing);
    expect(started).toHaveLength(1);
    manager.markOnline(2);
    expect(manager.state(2)).toBe(CpuState.Online);
    expect(manager.bringCpuOnline(2)).toBe(CpuState.Online);
    expect(manager.onlineCount).toBe(2);
    expect([...manager.onlineMask()]).toEqual([0, 2]);
    expect(manager.onlineMask(CpuMask.of(4, [1, 3])).toList()).toBe("0,2");
    expect(states).toEqual([
      [0, CpuState.Offline, CpuState.Initializing],
      [0, CpuState.Initializing, CpuState.Online],
      [2, CpuState.Offline, CpuState.Initializing],
      [2, CpuState.Initializing, CpuState.Online],
    ]);
  });

  it("fails a CPU that does not report in time, refuses its late report and can start it again", () => {
    const { hal, manager } = machine();
    manager.detectCpus(fourCpus);
    manager.bringCpuOnline(1);
    hal.timeNs = 1000;
    expect(manager.pollStartup()).toBe(0);
    hal.timeNs = 1001;
    expect(manager.pollStartup()).toBe(1);
    expect(manager.pollStartup()).toBe(0);
    expect(manager.state(1)).toBe(CpuState.Failed);
    expect(() => manager.markOnline(1)).toThrow(error("SMP_CPU_STATE"));
    expect(manager.bringCpuOnline(1)).toBe(CpuState.Initializing);
    hal.timeNs = 2001;
    expect(manager.pollStartup()).toBe(0);
    manager.markOnline(1);
    expect(manager.state(1)).toBe(CpuState.Online);
  });

  it("waits for a CPU until it reports, or until its time is over", () => {
    const { hal, manager } = machine();
    manager.detectCpus(fourCpus);
    manager.bringCpuOnline(1);
    hal.onRelax = () => hal.on(1, () => manager.markOnline(1));
    expect(manager.waitCpuOnline(1)).toBe(CpuState.Online);
    hal.onRelax = () => {
      hal.timeNs += 100;
    };
    manager.bringCpuOnline(2);
    expect(manager.waitCpuOnline(2)).toBe(CpuState.Failed);
    expect(manager.waitCpuOnline(3)).toBe(CpuState.Offline);
  });

  it("fails a CPU whose platform cannot start it, and passes the reason on", () => {
    const startCpu = (): never => {
      throw new Error("no such core");
    };
    const { manager } = machine(4, { startCpu });
    manager.detectCpus(fourCpus);
    expect(() => manager.bringCpuOnline(1)).toThrow("no such core");
    expect(manager.state(1)).toBe(CpuState.Failed);
  });

  it("takes CPUs offline and stops them, but not the boot processor or one that starts", () => {
    const stopped: number[] = [];
    const { manager } = machine(4, { startCpu: () => undefined, stopCpu: ({ id }) => stopped.push(id) });
    manager.detectCpus(fourCpus);
    manager.bringCpuOnline(1);
    expect(() => manager.takeCpuOffline(1)).toThrow(error("SMP_CPU_STATE"));
    manager.markOnline(1);
    manager.takeCpuOffline(1);
    manager.takeCpuOffline(1);
    expect(stopped).toEqual([1]);
    expect(manager.state(1)).toBe(CpuState.Offline);
    expect(() => manager.takeCpuOffline(0)).toThrow(error("SMP_CPU_STATE"));
    expect(manager.onlineCount).toBe(1);
  });

  it("does not start a disabled CPU until it is enabled again", () => {
    const { manager } = machine();
    manager.detectCpus(fourCpus);
    manager.setEnabled(1, false);
    expect(manager.getCpu(1).enabled).toBe(false);
    expect(() => manager.bringCpuOnline(1)).toThrow(error("SMP_CPU_STATE"));
    expect(() => manager.setEnabled(0, false)).toThrow(error("SMP_CPU_STATE"));
    manager.setEnabled(1, true);
    expect(manager.bringCpuOnline(1)).toBe(CpuState.Initializing);
  });

  it("adds CPUs one by one up to the possible ones, each APIC id once", () => {
    const { manager } = machine(2);
    expect(manager.addCpu(7)).toBe(0);
    expect(() => manager.addCpu(7)).toThrow(error("SMP_INVALID_ARGUMENT"));
    expect(manager.bringCpuOnline(0)).toBe(CpuState.Online);
    expect(manager.addCpu(9, 42)).toBe(1);
    expect(manager.getCpu(1)).toMatchObject({ apicId: 9, processorUid: 42, state: CpuState.Offline });
    expect(() => manager.addCpu(11)).toThrow(error("SMP_TOO_MANY_CPUS"));
    expect(manager.cpuCount).toBe(2);
  });

  it("throws for CPUs that are not known", () => {
    const { manager } = machine();
    manager.detectCpus(fourCpus);
    for (const id of [-1, 4, 1.5]) {
      for (const method of [
        "getCpu",
        "state",
        "bringCpuOnline",
        "markOnline",
        "waitCpuOnline",
        "takeCpuOffline",
      ] as const) {
        expect(() => manager[method](id)).toThrow(error("SMP_INVALID_CPU"));
      }
    }
  });

  it("shows one state on both sides of an attach", () => {
    const { hal, manager } = machine();
    const other = CpuManager.attach(structuredClone(manager.handle), { hal });
    manager.detectCpus(fourCpus);
    expect(other.cpuCount).toBe(4);
    expect(other.cpuByApicId(8)).toBe(3);
    manager.bringCpuOnline(3);
    other.markOnline(3);
    expect(manager.state(3)).toBe(CpuState.Online);
  });
});
