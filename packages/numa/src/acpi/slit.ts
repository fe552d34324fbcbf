import { dataView, type AcpiProblem, type AcpiTable } from "@x/smp/acpi";
import { LOCAL_DISTANCE } from "../limits.ts";
import { requireSignature } from "./table-kind.ts";

const COUNT_OFFSET = 36;
const MATRIX_OFFSET = 44;

/**
 * The System Locality Information Table: relative distances between proximity domains (ACPI 6.5, section 5.2.17).
 *
 * @public
 */
export interface Slit {
  /** Rows and columns of `matrix`. */
  readonly localities: number;
  /** `matrix[from][to]`; 10 is local, 255 unreachable. */
  readonly matrix: readonly (readonly number[])[];
  readonly problems: readonly AcpiProblem[];
}

/**
 * Decode a SLIT. A table too short for the count it gives has no rows and one problem. Throws `NUMA_BAD_TABLE` for a table
 * of another signature.
 *
 * @public
 */
export function parseSlit(table: AcpiTable): Slit {
  requireSignature(table, "SLIT");
  const { bytes } = table;
  if (bytes.length < MATRIX_OFFSET) {
    const message = `a SLIT has at least ${MATRIX_OFFSET} bytes; this one has ${bytes.length}`;
    return { localities: 0, matrix: [], problems: [{ offset: bytes.length, message }] };
  }
  const count = dataView(bytes).getBigUint64(COUNT_OFFSET, true);
  const room = bytes.length - MATRIX_OFFSET;
  if (count * count > BigInt(room)) {
    const message = `${count} localities need ${count * count} distances; the table has room for ${room}`;
    return { localities: 0, matrix: [], problems: [{ offset: COUNT_OFFSET, message }] };
  }
  const localities = Number(count);
  const matrix: number[][] = [];
  for (let row = 0; row < localities; row++) {
    const at = MATRIX_OFFSET + row * localities;
    matrix.push([...bytes.subarray(at, at + localities)]);
  }
  return { localities, matrix, problems: [] };
}

/**
 * Why Linux would not use this SLIT, or an empty text: the diagonal must be 10, everything else above 10
 * (`slit_valid`, drivers/acpi/numa/srat.c). 255 and asymmetry are allowed.
 *
 * @public
 */
export function slitFault(slit: Slit): string {
  if (slit.problems.length > 0) return slit.problems[0].message;
  if (slit.localities === 0) return "it has no localities";
  for (const [from, row] of slit.matrix.entries()) {
    for (const [to, distance] of row.entries()) {
      const valid = from === to ? distance === LOCAL_DISTANCE : distance > LOCAL_DISTANCE;
      if (!valid) return `the distance from domain ${from} to ${to} is ${distance}`;
    }
  }
  return "";
}
