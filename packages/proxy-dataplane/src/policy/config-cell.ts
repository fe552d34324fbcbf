import { jsonCodec, RcuCell, type Rcu } from "@x/rcu";
import type { ProxyConfig } from "./config.ts";
import { DEFAULT_CONFIG_BYTES } from "./limits.ts";
import { validateProxyConfig } from "./validate.ts";

/**
 * A cell for a {@link ProxyConfig}: validated when it is written, read by every CPU without waiting. Its version counts from 1,
 * its timestamp is of the writer's clock.
 *
 * @param options - `maxBytes`: of the configuration as JSON; default 262144, about 1500 rules. Memory is eight times that.
 *
 * @public
 */
export function proxyConfigCell(options: {
  readonly rcu: Rcu;
  readonly initial: ProxyConfig;
  readonly maxBytes?: number;
}): RcuCell<ProxyConfig> {
  const { maxBytes = DEFAULT_CONFIG_BYTES } = options;
  return RcuCell.create<ProxyConfig>({ ...options, codec: jsonCodec, validate: validateProxyConfig, maxBytes });
}

/**
 * Join a cell of {@link proxyConfigCell} from another thread.
 *
 * @public
 */
export function attachProxyConfigCell(
  handle: RcuCell<ProxyConfig>["handle"],
  options: { readonly rcu: Rcu },
): RcuCell<ProxyConfig> {
  return RcuCell.attach<ProxyConfig>(handle, { ...options, codec: jsonCodec, validate: validateProxyConfig });
}
