#!/usr/bin/env bash
# Checks each shipped crate by itself, with its default features and with all of them.
set -euo pipefail
crates=(event runtime filter event-log resources broker trigger-dispatcher control cli)
for crate in "${crates[@]}"; do
    echo "check pelton-$crate alone"
    cargo check --quiet --locked -p "pelton-$crate"
done
cargo check --quiet --locked -p pelton-event --all-features
