// Reading and writing fields of objects: declared, by hand, and through a DataView.
import { KmemCache, structLayout } from "@x/slab";

const OBJECTS = 64;
const layout = structLayout({ state: "u32", flags: "u16", port: "u16", bytes: "u64", seen: "i32" });

export default [
  {
    name: "three fields of an object, read and written",
    unit: "ns/op",
    ops: OBJECTS,
    setup: async () => {
      const cache = KmemCache.create({ name: "bench", objectSize: layout.size });
      const objects = Int32Array.from({ length: OBJECTS }, () => cache.zalloc());
      const conn = layout.on(cache.buffer);
      const words = new Int32Array(cache.buffer);
      const words32 = new Uint32Array(cache.buffer);
      const view = new DataView(cache.buffer);
      const { state, bytes, seen } = layout.offsets;
      return {
        ours: () => {
          for (let i = 0; i < OBJECTS; i++) {
            const object = objects[i];
            conn.state.set(object, i);
            conn.bytes.add(object, 1500);
            conn.seen.add(object, 1);
          }
          return conn.seen.get(objects[0]);
        },
        peers: {
          "index arithmetic by hand": () => {
            for (let i = 0; i < OBJECTS; i++) {
              const object = objects[i];
              words32[(object + state) >> 2] = i;
              const at = (object + bytes) >> 2;
              const sum = words32[at] + 1500;
              words32[at] = sum;
              if (sum >= 2 ** 32) words32[at + 1] += Math.floor(sum / 2 ** 32);
              words[(object + seen) >> 2] += 1;
            }
            return words[(objects[0] + seen) >> 2];
          },
          "DataView and BigInt": () => {
            for (let i = 0; i < OBJECTS; i++) {
              const object = objects[i];
              view.setUint32(object + state, i, true);
              view.setBigUint64(object + bytes, view.getBigUint64(object + bytes, true) + 1500n, true);
              view.setInt32(object + seen, view.getInt32(object + seen, true) + 1, true);
            }
            return view.getInt32(objects[0] + seen, true);
          },
        },
      };
    },
  },
];
