#!/bin/sh
# Starts Pelton on this folder, with a subscriber beside it. Ctrl-C ends both.
# Usage: run.sh [PELTON]    the binary; `pelton` from the PATH if not given
set -eu
pelton=${1:-pelton}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

"$pelton" sink 127.0.0.1:9000 &
sink=$!
"$pelton" run "$here" --data "${PELTON_DATA:-./pelton-data}" &
server=$!
stop() { kill "$server" "$sink" 2>/dev/null || true; }
trap stop INT TERM EXIT

cat >&2 <<'HELP'
In another terminal:
  curl -i http://127.0.0.1:8080/default/quickstart -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /me' \
    -H 'ce-type: greeting' -H 'content-type: application/json' -d '{"hello":"pelton"}'
HELP
wait "$server"
