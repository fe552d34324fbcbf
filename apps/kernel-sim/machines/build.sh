#!/usr/bin/env bash
# Compiles every ACPI table of this folder: <machine>/<table>.asl → <machine>/<table>.dat beside it, or below the folder given as
# the argument. Needs iasl (Debian: acpica-tools). The tables are in iasl's data-table language, so one run gives the bytes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for source in "$here"/*/*.asl; do
  table=${source#"$here"/}
  mkdir -p "$out/$(dirname "$table")"
  # iasl adds .aml to the prefix and exits non-zero on any error.
  if ! iasl -p "$out/${table%.asl}" "$source" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  mv "$out/${table%.asl}.aml" "$out/${table%.asl}.dat"
done
