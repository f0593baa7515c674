#!/bin/sh
# How often a real model answers from the block of recalled memory, by the block's wording: the one
# that is sent, others in its place, and no memory. Facts in English and Chinese, each among others.
#
#   UPSTREAM=http://127.0.0.1:9100/v1 MODEL=name tests/e2e/wording.sh [yychat]
#
# Exit 1 where the wording that is sent has fewer right answers than another by more than two of a
# language. Needs python3 and curl.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
yychat=$(realpath "${1:-target/debug/yychat}")
: "${UPSTREAM:?names the model server, with /v1}" "${MODEL:?names its model}"
. "$here/support.sh"

listen=127.0.0.1:$(free_port)
admin=127.0.0.1:$(free_port)
cat >"$work/yychat.toml" <<TOML
[server]
listen = "$listen"
admin_listen = "$admin"
[[upstreams]]
name = "model"
base_url = "$UPSTREAM"
[memory]
path = "$work/memory"
[log]
level = "warn"
TOML
(cd "$work" && exec "$yychat" --config yychat.toml 2>"$work/yychat.log") &
pids=$!
until_ok curl -fsS "http://$admin/readyz"
python3 "$here/wording.py" "http://$listen/v1" "$UPSTREAM" "$MODEL"
