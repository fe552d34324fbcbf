import type { ProcessFacts } from "./config.ts";
import { writeHostName } from "./host-name.ts";
import { MAX_NAME_BYTES } from "./limits.ts";

/**
 * What is known of a flow besides its key. One object is made and filled again for each flow, so that nothing is allocated.
 *
 * @public
 */
export class FlowFacts {
  /** The name of the destination in `[0, nameLength)`: lower case, without a final dot. Length 0: not known. */
  readonly name: Uint8Array = new Uint8Array(MAX_NAME_BYTES);
  nameLength = 0;
  user: string | undefined = undefined;
  process: ProcessFacts | undefined = undefined;
  /** The destination is not known, only its name is: words 4-7 of the key are not looked at. */
  nameOnly = false;

  /** Nothing is known. */
  clear(): this {
    this.nameLength = 0;
    this.user = undefined;
    this.process = undefined;
    this.nameOnly = false;
    return this;
  }

  /** A name in any case, with or without a final dot; one too long to be a name is as none. */
  setName(name: string): this {
    this.nameLength = writeHostName(name, this.name);
    return this;
  }
}
