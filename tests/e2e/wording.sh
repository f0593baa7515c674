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

# A gateway with an empty memory. $1: its name, $2: memory.earlier_bytes
remembering() {
    mkdir "$work/$1"
    cat >"$work/$1/yychat.toml" <<TOML
[[upstreams]]
name = "model"
base_url = "$UPSTREAM"
[memory]
path = "$work/$1/memory"
earlier_bytes = "$2"
[log]
level = "warn"
TOML
    gateway "$work/$1" "$yychat" --config yychat.toml
}
remembering alone 0
alone=$api
remembering stays 32KiB
python3 "$here/wording.py" "$api" "$alone" "$UPSTREAM" "$MODEL"
