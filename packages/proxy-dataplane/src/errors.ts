import { CodedError } from "@x/smp";

/**
 * Codes of {@link DataplaneError}.
 *
 * @public
 */
export type DataplaneErrorCode =
  | "DATAPLANE_INVALID_ARGUMENT"
  | "DATAPLANE_INVALID_CONFIG"
  | "DATAPLANE_INVALID_PARAMETER"
  | "DATAPLANE_INVALID_PACKET"
  | "DATAPLANE_WRONG_OWNER"
  | "RELAY_LISTEN"
  | "RELAY_OUTPUT"
  | "RELAY_STOPPED"
  | "RELAY_CONTROL"
  | "RELAY_ENGINE"
  | "CAPTURE_UNKNOWN_FORMAT"
  | "CAPTURE_TRUNCATED"
  | "CAPTURE_MALFORMED";

/**
 * Errors of `@x/proxy-dataplane`.
 *
 * @public
 */
export class DataplaneError extends CodedError<DataplaneErrorCode> {}
