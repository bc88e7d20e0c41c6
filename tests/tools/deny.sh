#!/usr/bin/env bash
# Licences, sources and banned crates. Advisories need the RustSec database and are checked where it can be reached.
set -euo pipefail
version=$1
if [ "$(cargo deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
    echo "installing cargo-deny $version (once, about two minutes)"
    cargo install --quiet --locked cargo-deny --version "$version"
fi
cargo deny --all-features check --hide-inclusion-graph bans licenses sources
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --all-features check --hide-inclusion-graph advisories
else
    echo "advisories: not checked, the RustSec database cannot be reached from here"
fi
