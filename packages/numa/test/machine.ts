import type { Hal } from "@x/smp";
import { soloHal } from "@x/smp";

/** One thread that plays several CPUs. */
export class Machine implements Hal {
  cpu = 0;
  readonly possibleCpus: number;

  constructor(possibleCpus: number) {
    this.possibleCpus = possibleCpus;
  }
  currentCpu(): number {
    return this.cpu;
  }
  now(): number {
    return 0;
  }
  relax(): void {
    throw new Error("a lone thread spins for ever");
  }
  kick(): void {
    // Nobody waits.
  }
  wait = soloHal().wait.bind(soloHal());
  wake = soloHal().wake.bind(soloHal());
}
