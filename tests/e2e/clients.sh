#!/bin/sh
# Real clients through a running yychat, in front of a scripted model server with three APIs: the official
# libraries of OpenAI and Anthropic, and the programs Codex, Claude Code, opencode and Qwen Code. Each
# program is asked something that only memory and the gateway's calculator can answer.
#
#   tests/e2e/clients.sh [path of the yychat binary]
#
# Needs python3 with venv, and node 20 with npm. Everything is installed into a folder that is removed
# at the end, and every program has a home of its own there; PREFIX names a folder that has node_modules
# and a Python environment in v/ already.
set -eu

yychat=$(realpath "${1:-target/debug/yychat}")
plugins=$(realpath plugins)
scripts=$(realpath tests/e2e/clients)
. "$(dirname "$0")/support.sh"

prefix=${PREFIX:-$work/prefix}
if [ ! -e "$prefix/v" ]; then
    python3 -m venv "$prefix/v"
    "$prefix/v/bin/pip" install --quiet openai anthropic
    npm install --silent --prefix "$prefix" @openai/codex @anthropic-ai/claude-code opencode-ai \
        @qwen-code/qwen-code
fi
PATH=$prefix/node_modules/.bin:$PATH

model=$(free_port)
python3 "$scripts/model.py" "$model" >"$work/model.log" 2>&1 &
pids="$pids $!"
key=key-of-the-client-programs-0123456789
mkdir "$work/gateway"
cat >"$work/gateway/yychat.toml" <<EOF
[[upstreams]]
name = "model"
base_url = "http://127.0.0.1:$model/v1"
api_key = { env = "UPSTREAM_KEY" }
[[auth.keys]]
name = "clients"
key = { env = "CLIENTS_KEY" }
tenant = "home"
user = "me"
[tools]
dir = "$plugins"
EOF
UPSTREAM_KEY=unused-unused-unused-unused CLIENTS_KEY=$key
export UPSTREAM_KEY CLIENTS_KEY
gateway "$work/gateway" "$yychat" --config yychat.toml >"$work/yychat.log" 2>&1
address=${api%/v1}

"$prefix/v/bin/python" "$scripts/libraries.py" "$address" "$key"

# Asks program $1 by the command that follows, and looks for what only memory and a tool can tell.
program() {
    name=$1
    shift
    mkdir -p "$work/$name"
    for pair in 'What is my cat called?=Pixel' 'CALCULATE 6*7=42'; do
        said=$(cd "$work/$name" && timeout 120 env -i PATH="$PATH" HOME="$work/$name" LANG=C.UTF-8 \
            TERM=dumb IS_SANDBOX=1 KEY="$key" "$@" "${pair%=*}" 2>"$work/$name.log" </dev/null) ||
            fail "$name ended with an error: $said"
        case $said in
        *"${pair#*=}"*) echo "ok: $name: ${pair%=*}" ;;
        *) fail "$name said $said, without ${pair#*=}" ;;
        esac
    done
}

mkdir -p "$work/codex/.codex" "$work/opencode/.config/opencode"
cat >"$work/codex/.codex/config.toml" <<EOF
model = "gpt-5"
model_provider = "yychat"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.yychat]
name = "yychat"
base_url = "$api"
env_key = "KEY"
wire_api = "responses"
EOF
cat >"$work/opencode/.config/opencode/opencode.json" <<EOF
{"model": "yychat/gpt-5", "autoupdate": false, "provider": {"yychat": {"npm": "@ai-sdk/openai-compatible",
 "name": "yychat", "options": {"baseURL": "$api", "apiKey": "$key"}, "models": {"gpt-5": {"name": "gpt-5"}}}}}
EOF
program codex codex exec --skip-git-repo-check
program claude-code ANTHROPIC_BASE_URL="$address" ANTHROPIC_AUTH_TOKEN="$key" \
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 claude -p
program opencode opencode run
program qwen-code OPENAI_BASE_URL="$api" OPENAI_API_KEY="$key" OPENAI_MODEL=gpt-5 qwen -p

# Nothing but what a person asked, and its answers, was remembered.
kept=$(curl -fsS -H "authorization: Bearer $key" -H 'x-yychat-user-id: me' "$api/memories?limit=100")
case $kept in
*system-reminder* | *environment_context* | *'title'*) fail "what a program says by itself was remembered: $kept" ;;
esac
echo "real clients work"
