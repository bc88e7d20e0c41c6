#!/usr/bin/env bash
# The long form: more crashes, more seeds, more faults over Kafka. Appends its results, with their commit, to docs/reliability.md.
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

kafka_lines=none
if tests/kafka/fetch.sh; then
    rebalances=${PELTON_KAFKA_REBALANCES:-100}
    echo "rebalances: $rebalances"
    PELTON_BIN=$bin PELTON_KAFKA_REBALANCES=$rebalances PELTON_KAFKA_CRASHES=${PELTON_KAFKA_CRASHES:-50} \
        PELTON_KAFKA_RESTARTS=${PELTON_KAFKA_RESTARTS:-10} PELTON_KAFKA_NODES_KILLED=3 \
        PELTON_KAFKA_FREEZES=${PELTON_KAFKA_FREEZES:-10} \
        cargo test --profile quick --locked -p pelton-tests --test kafka -- --nocapture faults rebalance 2>&1 | tee "$log"
    kafka_lines=$(grep -E ' and none lost, |requests were on their way' "$log" | paste -sd';' | sed 's/;/; /g')
fi

sed -i '/^None kept yet\.$/d' docs/reliability.md
printf -- '* %s, commit %s: %s; %s seeds of the log model and of the dispatcher simulation passed. Over Kafka: %s.\n' \
    "$(date -u +%F)" "$commit" "$crash_line" "$seeds" "$kafka_lines" >> docs/reliability.md
