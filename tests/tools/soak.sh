#!/usr/bin/env bash
# The long form: more crashes and more seeds. Appends its results, with their commit, to docs/reliability.md.
set -euo pipefail
bin=$1
. tests/tools/testdata.sh
crashes=${PELTON_CRASHES:-1000}
seeds=${PELTON_SEEDS:-1000000}
commit=$(git rev-parse --short HEAD)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

echo "crashes: $crashes"
PELTON_BIN=$bin PELTON_CRASHES=$crashes cargo test --profile quick --locked -p pelton-tests --test faults -- --nocapture 2>&1 | tee "$log"
crash_line=$(grep -E '^[0-9]+ cycles, ' "$log" | tail -n 1)

echo "seeds: $seeds"
PELTON_SEEDS=$seeds cargo test --profile quick --locked -p pelton-event-log -p pelton-trigger-dispatcher --lib

sed -i '/^None kept yet\.$/d' docs/reliability.md
printf -- '* %s, commit %s: %s; %s seeds of the log model and of the dispatcher simulation passed.\n' \
    "$(date -u +%F)" "$commit" "$crash_line" "$seeds" >> docs/reliability.md
