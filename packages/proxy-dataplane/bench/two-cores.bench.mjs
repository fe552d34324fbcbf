// Two cores over one table, one pool and one set of connections; and the same work on one of them.
import { makeCores, SIZE, VECTORS } from "./cores.mjs";

export default [
  {
    name: "UDP both ways on two cores, 512 flows each, against one core",
    unit: "Mpackets/s",
    ops: VECTORS * SIZE,
    setup: async () => {
      const { share, teardown } = await makeCores();
      return { ours: share(VECTORS / 2, VECTORS / 2), peers: { "one core": share(VECTORS, 0) }, teardown };
    },
  },
];
