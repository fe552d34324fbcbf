import { VectorSet } from "./vectors.ts";

/*
 * Requests, service and priorities of a local APIC (Intel SDM volume 3A, sections 10.8.3 and 10.8.4).
 *
 *   accept ──▶ requests (IRR) ──acknowledge, if its class is above the processor's──▶ in service (ISR) ──end──▶
 *
 * A vector's class is its upper four bits. The processor's priority is the higher of the task priority and of the class in
 * service, so only a higher class nests.
 */
export class InterruptState {
  /** Task priority register: class and subclass. */
  taskPriority = 0;
  readonly requests: VectorSet = new VectorSet();
  readonly inService: VectorSet = new VectorSet();
  /** Vectors whose last request was level-triggered. */
  readonly levelTriggered: VectorSet = new VectorSet();

  reset(): void {
    this.taskPriority = 0;
    this.requests.clear();
    this.inService.clear();
    this.levelTriggered.clear();
  }

  accept(vector: number, levelTriggered: boolean): void {
    this.requests.add(vector);
    if (levelTriggered) this.levelTriggered.add(vector);
    else this.levelTriggered.delete(vector);
  }

  /** Section 10.8.3.1. Where both classes are equal the manual leaves the subclass open; here it is the task's. */
  get processorPriority(): number {
    const task = this.taskPriority;
    const highest = this.inService.highest();
    if (highest < 0) return task;
    return task >>> 4 >= highest >>> 4 ? task : highest & 0xf0;
  }

  /** Section 10.6.2.4: what competes in the arbitration of a lowest-priority message. */
  get arbitrationPriority(): number {
    const task = this.taskPriority;
    const requested = Math.max(this.requests.highest(), 0) & 0xf0;
    const served = Math.max(this.inService.highest(), 0) & 0xf0;
    if ((task & 0xf0) >= requested && (task & 0xf0) > served) return task;
    return Math.max(task & 0xf0, requested, served);
  }

  get deliverable(): boolean {
    const highest = this.requests.highest();
    return highest >= 0 && highest >>> 4 > this.processorPriority >>> 4;
  }

  /** Move the highest deliverable vector into service; -1: none is. */
  acknowledge(): number {
    if (!this.deliverable) return -1;
    const vector = this.requests.highest();
    this.requests.delete(vector);
    this.inService.add(vector);
    return vector;
  }

  /** End the highest vector in service and return it; -1: none was. */
  end(): number {
    const vector = this.inService.highest();
    if (vector >= 0) this.inService.delete(vector);
    return vector;
  }
}
