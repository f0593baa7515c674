#!/bin/sh
# How many prompt tokens a real model server's cache serves over a chat of twenty turns: without
# memory, and with it at each placement, over each of the three APIs. Exit 1 where a turn at "tail"
# does not find the whole prompt of the turn before in the cache, or less than the same turn without
# memory.
#
#   UPSTREAM=http://127.0.0.1:9100/v1 MODEL=name [SYSTEM=text] tests/e2e/prompt_cache.sh [yychat]
#
# The upstream is llama.cpp's server, idle otherwise; any model does, also one of random weights.
# SYSTEM takes the place of the chat's own system message. Needs python3 and curl.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
yychat=$(realpath "${1:-target/debug/yychat}")
: "${UPSTREAM:?names the model server, with /v1}" "${MODEL:?names its model}"
. "$here/support.sh"

# The API of the chats that follow, and whether their answers are kept or changed.
dialect=chat
answers=kept

# A gateway of its own with an empty memory, and a chat through it.
# $1: a name, $2: memory.enabled, $3: memory.placement, $4: strict_roles, $5: memory.earlier_bytes
chat() {
    home=$work/$dialect-$answers-$1
    mkdir "$home"
    cat >"$home/yychat.toml" <<TOML
[[upstreams]]
name = "model"
base_url = "$UPSTREAM"
strict_roles = $4
[memory]
enabled = $2
path = "$home/memory"
placement = "$3"
earlier_bytes = "${5:-32KiB}"
[log]
level = "warn"
TOML
    gateway "$home" "$yychat" --config yychat.toml
    # Random, so that the cache of an earlier chat does not serve this one; digits are a token each.
    name=$(python3 -c 'import secrets; print(f"{secrets.randbelow(10**16):016}")')
    python3 "$here/prompt_cache.py" "$api" "$UPSTREAM" "$MODEL" "$name" "$2" "$answers" "$dialect" >"$home.json"
    kill "$pid"
    wait "$pid"
    pids=
}

# The server takes no grammar over Messages, so its answers there are never those of the history.
for which in "chat kept" "chat changed" "responses kept" "responses changed" "messages changed"; do
    dialect=${which% *} answers=${which#* }
    chat none false tail false
    chat tail true tail false
    chat tail-alone true tail false 0
    chat tail-strict true tail true
    chat head true head false
    chat head-strict true head true
done

python3 - "$work" <<'PYTHON'
import json, sys

for which in ("chat-kept", "chat-changed", "responses-kept", "responses-changed", "messages-changed"):
    def turns(name):
        return json.load(open(f"{sys.argv[1]}/{which}-{name}.json"))

    none = turns("none")
    served = sum(cached for _, cached in none)
    print("{}, answers {}".format(*which.split("-")))
    for name in ("none", "tail", "tail-alone", "tail-strict", "head", "head-strict"):
        prompt, cached = (sum(column) for column in zip(*turns(name)))
        fresh = (prompt - cached) / len(none)
        print(f"  {name:12} {prompt:6} prompt tokens, {cached:6} cached: {cached / prompt:.1%},"
              f" {cached / served:.1%} of none's; {fresh:.0f} new a turn")
    for name in ("tail", "tail-strict"):
        sent = turns(name)
        for turn, ((prompt, _), (_, cached), (_, least)) in enumerate(zip(sent, sent[1:], none[1:]), 2):
            if cached < max(prompt, least):
                sys.exit(f"{name}, turn {turn}: {cached} tokens from the cache, {max(prompt, least)} were to be had")
PYTHON
