#!/bin/sh
# The gateway's tools in the Python and Node libraries of OpenAI and Anthropic, over three APIs: random
# streams before a strict upstream, and a real model where one is given.
#
#   [STREAMS=10000] [UPSTREAM=http://127.0.0.1:9100/v1 MODEL=name] tests/e2e/tools.sh [yychat]
#
# Needs python3 with venv, node with npm, and curl. The libraries are installed into a folder that
# is removed at the end.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
yychat=$(realpath "${1:-target/debug/yychat}")
plugins=$(realpath "$here/../../plugins")
streams=${STREAMS:-10000}
. "$here/support.sh"

echo "installing openai and anthropic from PyPI and npm into $work" >&2
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openai anthropic
npm install --silent --no-audit --no-fund --prefix "$work" openai @anthropic-ai/sdk
cp "$here"/tools/*.mjs "$work"

# Small models keep to a tool where they are told what they are and offered no other.
persona() {
    cat >"$work/personalities/$1.json" <<EOF
{"id": "$1", "name": "$1", "allowed_tools": [{"tool_name": "$2", "description": ""}],
 "system_prompt": "You are a $1. Answer in one plain sentence, never with code."}
EOF
}
mkdir "$work/personalities"
persona clock gettime
persona reckoner calculator

# A gateway before $1.
before() {
    gateway "$work" env "OPENAI_BASE_URL=$1" OPENAI_API_KEY=unused "$yychat" --set "tools.dir=$plugins" \
        --set "personality.dir=$work/personalities" --set memory.enabled=false --set log.level=warn
}

mkfifo "$work/port"
python3 "$here/tools/upstream.py" >"$work/port" &
pids="$pids $!"
read -r port <"$work/port"
before "http://127.0.0.1:$port/v1"
"$work/venv/bin/python" "$here/tools/streams.py" "$api" "$streams" &
python=$!
(cd "$work" && node streams.mjs "$api" "$streams")
wait "$python"
curl -fsS "http://$admin/metrics" | grep '^yychat_tool_calls_total'

if [ -n "${UPSTREAM:-}" ]; then
    before "$UPSTREAM"
    "$work/venv/bin/python" "$here/tools/model.py" "$api" "$MODEL"
    (cd "$work" && node model.mjs "$api" "$MODEL")
    curl -fsS "http://$admin/metrics" | grep '^yychat_tool_calls_total'
fi
echo "tools work in the makers' own libraries"
