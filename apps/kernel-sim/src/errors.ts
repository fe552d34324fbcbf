import { CodedError } from "@x/smp";

/** Codes of {@link SimError}. */
export type SimErrorCode =
  | "SIM_USAGE"
  | "SIM_INPUT"
  | "SIM_SCENARIO"
  | "SIM_UNKNOWN_MACHINE"
  | "SIM_CPU_COUNT"
  | "SIM_MEMORY"
  | "SIM_OUTPUT"
  | "SIM_ATOMIC_SLEEP"
  | "SIM_LIVELOCK"
  | "SIM_NO_PROGRESS"
  | "SIM_LEAK";

/** Errors of the emulator and its command line. */
export class SimError extends CodedError<SimErrorCode> {}

/** One line for standard error: where, what. */
export function describe(error: CodedError): string {
  const { file, offset, path } = error.location;
  const at = [file, offset === undefined ? undefined : `offset ${offset}`, path].filter(
    (part) => part !== undefined && part !== "",
  );
  return [...at, error.message.replaceAll(/\s+/g, " ")].join(": ");
}
