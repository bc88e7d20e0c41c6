#!/usr/bin/env bash
# Checks each shipped crate by itself, with its default features and with all of them, and that the fuzz targets build.
set -euo pipefail
crates=(event runtime filter event-log resources broker trigger-dispatcher control cli)
for crate in "${crates[@]}"; do
    echo "check pelton-$crate alone"
    cargo check --quiet --locked -p "pelton-$crate"
done
cargo check --quiet --locked -p pelton-event --all-features

# The fuzz targets are a workspace of their own, which nothing else builds.
echo "check the fuzz targets"
cargo check --quiet --locked --manifest-path fuzz/Cargo.toml --bins --target-dir "${CARGO_TARGET_DIR:-target}/fuzz"
