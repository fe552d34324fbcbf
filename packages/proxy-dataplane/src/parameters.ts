import { DataplaneError } from "./errors.ts";

/**
 * The parameters of the data path, by the names a kernel module gives them. All may change while packets flow; every CPU
 * obeys the change with its next batch.
 *
 * @public
 */
export interface ProxyParameters {
  /** Packets go through the stages in batches; off: one by one. Default true. */
  readonly perf_enable_batching: boolean;
  /** Packets are worked on where they lie; off: each is copied when it is received. Default true. */
  readonly perf_enable_zero_copy: boolean;
  /** The configuration is read under RCU; off: under a lock. Default true. */
  readonly perf_enable_rcu: boolean;
  /** Packets of a batch, 1 to 256. Default 32. */
  readonly perf_batch_size: number;
  /** Connections a CPU remembers: a power of two from 4 up to what the cache was made for, or 0 for none. Default 1024. */
  readonly perf_cache_size: number;
}

/**
 * The name of a parameter.
 *
 * @public
 */
export type ProxyParameter = keyof ProxyParameters;

export const MAX_BATCH = 256;

/** Words of the parameter block, in shared memory; Atomics only. */
export const PARAMETER: { readonly [Name in ProxyParameter]: number } = {
  perf_enable_batching: 0,
  perf_enable_zero_copy: 1,
  perf_enable_rcu: 2,
  perf_batch_size: 3,
  perf_cache_size: 4,
};

export const DEFAULT_PARAMETERS: ProxyParameters = {
  perf_enable_batching: true,
  perf_enable_zero_copy: true,
  perf_enable_rcu: true,
  perf_batch_size: 32,
  perf_cache_size: 1024,
};

/** The word for a value. Throws `DATAPLANE_INVALID_PARAMETER` for an unknown name, a wrong type or a value out of range. */
export function encodeParameter(name: ProxyParameter, value: boolean | number, maxCacheEntries: number): number {
  const byDefault = DEFAULT_PARAMETERS[name] as boolean | number | undefined;
  if (byDefault === undefined || !Object.hasOwn(DEFAULT_PARAMETERS, name)) {
    throw invalid(name, `no parameter is named ${name}`);
  }
  if (typeof value !== typeof byDefault) {
    throw invalid(name, `${name} takes a ${typeof byDefault}, not ${JSON.stringify(value)}`);
  }
  if (typeof value === "boolean") return value ? 1 : 0;
  if (name === "perf_batch_size" && !(Number.isInteger(value) && value >= 1 && value <= MAX_BATCH)) {
    throw invalid(name, `${name} is ${value}; 1 to ${MAX_BATCH} are possible`);
  }
  if (name === "perf_cache_size" && !isCacheSize(value, maxCacheEntries)) {
    throw invalid(name, `${name} is ${value}; 0 or a power of two from 4 to ${maxCacheEntries} is possible`);
  }
  return value;
}

export function decodeParameter<Name extends ProxyParameter>(name: Name, word: number): ProxyParameters[Name] {
  return (typeof DEFAULT_PARAMETERS[name] === "boolean" ? word !== 0 : word) as ProxyParameters[Name];
}

function isCacheSize(value: number, most: number): boolean {
  return value === 0 || (Number.isInteger(value) && value >= 4 && value <= most && (value & (value - 1)) === 0);
}

function invalid(name: string, message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_PARAMETER", message, { path: `/${name}` });
}
