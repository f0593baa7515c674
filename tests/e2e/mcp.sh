#!/bin/sh
# Real MCP servers through a running yychat: PyPI's mcp-server-time over stdio and npm's
# @modelcontextprotocol/server-everything over streamable HTTP.
#
#   tests/e2e/mcp.sh [path of the yychat binary]
#
# Needs python3 with venv, node with npm, and curl. Everything is installed into a folder that is
# removed at the end.
set -eu

yychat=$(realpath "${1:-target/debug/yychat}")
. "$(dirname "$0")/support.sh"

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet mcp-server-time
npm install --silent --prefix "$work/npm" @modelcontextprotocol/server-everything

everything=$(free_port)
PORT=$everything "$work/npm/node_modules/.bin/mcp-server-everything" streamableHttp \
    >"$work/everything.log" 2>&1 &
pids="$pids $!"

mkdir -p "$work/plugins/time" "$work/plugins/everything"
cat >"$work/plugins/time/plugin.toml" <<EOF
kind = "mcp"
transport = "stdio"
command = "$work/venv/bin/mcp-server-time"
args = ["--local-timezone", "UTC"]
EOF
cat >"$work/plugins/everything/plugin.toml" <<EOF
kind = "mcp"
transport = "streamable_http"
url = "http://127.0.0.1:$everything/mcp"
allow_hosts = ["127.0.0.1"]
allowed_tools = ["echo", "get-sum"]
EOF

port=$(free_port)
admin=$(free_port)
cd "$work"
YYCHAT__SERVER__LISTEN=127.0.0.1:$port YYCHAT__SERVER__ADMIN_LISTEN=127.0.0.1:$admin \
    YYCHAT__TOOLS__DIR="$work/plugins" YYCHAT__MEMORY__ENABLED=false \
    OPENAI_API_KEY=unused "$yychat" >"$work/yychat.log" 2>&1 &
pids="$pids $!"

api=http://127.0.0.1:$port/v1
listed() { curl -fsS "$api/tools" | grep -q "\"$1\""; }
# The tool, its arguments, and what its answer holds.
called() {
    answer=$(curl -sS -H 'content-type: application/json' \
        -d "{\"tool_name\":\"$1\",\"params\":$2}" "$api/tools/call")
    case $answer in
    *"$3"*) echo "ok: $1 $2" ;;
    *) fail "$1 answered $answer, without $3" ;;
    esac
}
until_ok listed get_current_time
until_ok listed echo
called get_current_time '{"timezone":"Asia/Shanghai"}' '+08:00'
called convert_time '{"source_timezone":"UTC","time":"12:00","target_timezone":"Asia/Tokyo"}' '21:00'
called echo '{"message":"through the proxy"}' 'through the proxy'
called get-sum '{"a":1,"b":2}' '3'
called get_current_time '{}' 'timezone'
if listed get-env; then fail "a tool that is not allowed is listed"; fi
echo "real MCP servers work"
