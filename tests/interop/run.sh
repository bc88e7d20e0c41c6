#!/usr/bin/env bash
# The CloudEvents SDKs of Python and JavaScript against the real binary, both ways: each sends events to Pelton in every mode
# it can, and each plays the subscriber that must understand what Pelton delivers.
set -euo pipefail
cd "$(dirname "$0")"
bin=${PELTON_BIN:?set PELTON_BIN to the binary under test}
passed=0 failed=0 skipped=0

skip() {
    echo "skipped: $1"
    skipped=$((skipped + 1))
    if [ -n "${PELTON_NO_SKIPS:-}" ]; then failed=$((failed + 1)); fi
}
run() {
    if PELTON_BIN="$bin" "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

if command -v python3 >/dev/null && python3 -c 'import venv' 2>/dev/null; then
    if [ ! -x .venv/bin/python ]; then python3 -m venv .venv; fi
    if .venv/bin/pip install --quiet --disable-pip-version-check -r python/requirements.txt; then
        run .venv/bin/python python/interop.py
    else
        skip "python SDK: PyPI cannot be reached"
    fi
else
    skip "python SDK: no python3 with venv"
fi

if command -v npm >/dev/null; then
    if npm ci --silent --no-audit --no-fund --prefix node >/dev/null; then
        run node node/interop.mjs
    else
        skip "javascript SDK: the npm registry cannot be reached"
    fi
else
    skip "javascript SDK: no npm"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
