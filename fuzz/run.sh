#!/usr/bin/env bash
# Fuzzes every target, one after the other, for PELTON_FUZZ_SECONDS each (60). Names as arguments choose targets.
# What breaks is kept in fuzz/artifacts/TARGET/; what is learned in fuzz/corpus/TARGET/.
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=${PELTON_FUZZ_SECONDS:-60}

missing=0
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: a nightly compiler is missing; install it with: rustup toolchain install nightly --profile minimal" >&2
    missing=1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: cargo-fuzz is missing; install it with: cargo install cargo-fuzz --locked" >&2
    missing=1
fi
[ "$missing" = 0 ] || exit 1

fuzz() {
    # No sanitizer for memory: the crates deny unsafe code. Debug assertions and overflow checks stay on.
    cargo +nightly fuzz "$1" --fuzz-dir fuzz --sanitizer none "${@:2}"
}

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir fuzz)
fuzz build || exit 1
broken=()
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    mkdir -p "fuzz/corpus/$target"
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0)
    case $target in
        http | reply | json | batch | kafka) options+=(-dict=fuzz/dictionaries/event) ;;
        cesql | resources | config) options+=(-dict="fuzz/dictionaries/$target") ;;
    esac
    fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- "${options[@]}" || broken+=("$target")
done
if [ ${#broken[@]} -gt 0 ]; then
    echo "fuzz: broken: ${broken[*]}; the inputs are in fuzz/artifacts/" >&2
    exit 1
fi
echo "fuzz: ${#targets[@]} targets, nothing found"
