#!/bin/sh
# How often a real model answers from the block of recalled memory, by the block's wording: the one
# that is sent, others in its place, and no memory; then over a chat in which blocks stay, and in which
# they do not. Facts in English and Chinese, each among others.
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

# A gateway with an empty memory. $1: its name, $2: memory.earlier_bytes; its address is left in $api.
gateway() {
    home=$work/$1
    mkdir "$home"
    listen=127.0.0.1:$(free_port)
    admin=127.0.0.1:$(free_port)
    cat >"$home/yychat.toml" <<TOML
[server]
listen = "$listen"
admin_listen = "$admin"
[[upstreams]]
name = "model"
base_url = "$UPSTREAM"
[memory]
path = "$home/memory"
earlier_bytes = "$2"
[log]
level = "warn"
TOML
    (cd "$home" && exec "$yychat" --config yychat.toml 2>"$work/$1.log") &
    pids="$pids $!"
    until_ok curl -fsS "http://$admin/readyz"
    api=http://$listen/v1
}
gateway alone 0
alone=$api
gateway stays 32KiB
python3 "$here/wording.py" "$api" "$alone" "$UPSTREAM" "$MODEL"
