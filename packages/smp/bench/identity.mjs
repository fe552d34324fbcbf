// The task of the pool: gives back what it is given.
import { takeProcessor } from "./own-processor.mjs";

takeProcessor(1);
export default (value) => value;
