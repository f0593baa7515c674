#!/bin/sh
# Real clients through a running yychat, in front of a scripted model server with three APIs: the official
# libraries of OpenAI and Anthropic, agents' libraries, and client programs. Each is asked the same directly and
# through yychat, has a tool of its own run and one of the gateway's, recalls what was told through the client
# before it, and has nothing kept but what was said. Prints a table.
#
#   tests/e2e/clients.sh [path of the yychat binary] [NAME of a client…]
#
# Needs python3 (3.10 to 3.12, for aider) with venv, and node 20 with npm. Everything is installed into a folder
# that is removed at the end; PREFIX names one that is kept and used again. OPEN_WEBUI=1 has Open WebUI too,
# SILLYTAVERN=1 SillyTavern, whose installations are large.
set -eu

yychat=$(realpath "${1:-target/debug/yychat}")
[ $# -eq 0 ] || shift
plugins=$(realpath plugins)
scripts=$(realpath tests/e2e/clients)
. "$(dirname "$0")/support.sh"

prefix=${PREFIX:-$work/prefix}
if [ ! -e "$prefix/v" ]; then
    python3 -m venv "$prefix/v"
    "$prefix/v/bin/pip" install --quiet 'openai[realtime]' anthropic openai-agents 'pydantic-ai-slim[openai]' langchain-openai \
        'smolagents[openai]' llm
    npm install --silent --no-audit --no-fund --prefix "$prefix" @openai/codex @anthropic-ai/claude-code opencode-ai \
        @qwen-code/qwen-code cline @mariozechner/pi-coding-agent @continuedev/cli
    # These belong together: later ones want node 22, and npm would take one of them and not the others.
    npm install --silent --no-audit --no-fund --prefix "$prefix" ai@6 @ai-sdk/openai@3 @ai-sdk/anthropic@3
fi
# It pins what the others have newer.
if [ ! -e "$prefix/aider" ]; then
    python3 -m venv "$prefix/aider"
    "$prefix/aider/bin/pip" install --quiet aider-chat
fi
if [ -n "${OPEN_WEBUI:-}" ] && [ ! -e "$prefix/webui" ]; then
    # Without what it embeds by itself with: the scripted model does that.
    python3 -m venv "$prefix/webui"
    "$prefix/webui/bin/pip" install --quiet uv
    for name in torch transformers sentence-transformers accelerate; do
        echo "$name; python_version < '3'"
    done >"$work/leave-out"
    VIRTUAL_ENV=$prefix/webui "$prefix/webui/bin/uv" pip install --quiet --override "$work/leave-out" open-webui
fi

if [ -n "${SILLYTAVERN:-}" ] && [ ! -e "$prefix/tavern" ]; then
    npm install --silent --no-audit --no-fund --prefix "$prefix/tavern" sillytavern
fi

model=$(free_port)
requests=$work/requests.jsonl
python3 "$scripts/model.py" "$model" "$requests" >"$work/model.log" 2>&1 &
pids="$pids $!"
until_ok curl -fsS "http://127.0.0.1:$model/v1/models"
sockets=$(free_port)
"$prefix/v/bin/python" "$scripts/socket_model.py" "$sockets" >"$work/sockets.log" 2>&1 &
pids="$pids $!"
key=key-of-the-client-programs-0123456789
mkdir "$work/gateway"
cat >"$work/gateway/yychat.toml" <<EOF
[[upstreams]]
name = "sockets"
base_url = "http://127.0.0.1:$sockets/v1"
api_key = { env = "UPSTREAM_KEY" }
models = ["gpt-5-socket"]
[[upstreams]]
name = "model"
base_url = "http://127.0.0.1:$model/v1"
api_key = { env = "UPSTREAM_KEY" }
[[auth.keys]]
name = "clients"
key = { env = "CLIENTS_KEY" }
tenant = "home"
user = "me"
[[auth.keys]]
name = "open-webui"
key = { env = "OPEN_WEBUI_KEY" }
tenant = "front-end"
personality = "friendly"
[memory]
recall_deadline = "10s"
[tools]
dir = "$plugins"
EOF
UPSTREAM_KEY=unused-unused-unused-unused CLIENTS_KEY=$key OPEN_WEBUI_KEY=open-webui-$key
export UPSTREAM_KEY CLIENTS_KEY OPEN_WEBUI_KEY
gateway "$work/gateway" "$yychat" --config yychat.toml >"$work/yychat.log" 2>&1
address=${api%/v1}

if [ $# -eq 0 ]; then
    "$prefix/v/bin/python" "$scripts/libraries.py" "$address" "$key"
fi
python3 "$scripts/programs.py" "$prefix" "http://127.0.0.1:$model" "$address" "$key" "$requests" "$work/homes" "$@"
if [ -n "${OPEN_WEBUI:-}" ]; then
    python3 "$scripts/open_webui.py" "$prefix/webui/bin/open-webui" "$address" "$OPEN_WEBUI_KEY" "$requests" \
        "$work/open-webui" "$(free_port)"
fi
if [ -n "${SILLYTAVERN:-}" ]; then
    tavern=$(free_port)
    (cd "$prefix/tavern/node_modules/sillytavern" && exec node server.js --port "$tavern" --listen false \
        --dataRoot "$work/tavern" --configPath "$work/tavern.yaml" --browserLaunchEnabled false) >"$work/tavern.log" 2>&1 &
    pids="$pids $!"
    # It compiles its page first, the first time.
    until curl -fsS -o "$work/page" "http://127.0.0.1:$tavern/" 2>"$work/curl"; do
        kill -0 "$!" || fail "SillyTavern does not start"
        sleep 1
    done
    python3 "$scripts/sillytavern.py" "http://127.0.0.1:$tavern" "$address" "$key" "$requests"
fi
echo "real clients work"
