#!/usr/bin/env bash
# What the gateway costs: yychat with a 1 KB persona against bare pingora and against no proxy.
#
#   METER=path/to/meter/target/release benches/overhead.sh [SECONDS [ROUNDS]]
#
# METER holds the binaries `meter` and `mock-upstream`. Everything runs on loopback, in pairs that
# alternate, and medians are printed; needs cargo, curl and jq. Run it on an otherwise idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${METER:?set METER to the folder that holds the binaries meter and mock-upstream}"
seconds=${1:-4} rounds=${2:-5}
mock=127.0.0.1:9180 bare=127.0.0.1:9181 api=127.0.0.1:9182 admin=127.0.0.1:9183
remembering=127.0.0.1:9184

[[ ${BUILD:-yes} == no ]] || cargo build --quiet --release --bin yychat --bench pass_through
pass_through=$(find target/release/deps -maxdepth 1 -name 'pass_through-*' -executable -type f \
  -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)

work=$(mktemp -d)
pids=()
cleanup() { kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT

mkdir "$work/personalities" "$work/plugins"
persona=$(printf 'You are a patient assistant who answers in short, plain sentences. %.0s' {1..15})
jq -n --arg p "${persona:0:1024}" '{id: "bench", name: "Bench", system_prompt: $p}' \
  > "$work/personalities/bench.json"
cat > "$work/yychat.toml" <<TOML
[server]
listen = "$api"
admin_listen = "$admin"
[[upstreams]]
name = "mock"
base_url = "http://$mock/v1"
[personality]
dir = "$work/personalities"
default = "bench"
[memory]
enabled = ${MEMORY:-false}
path = "$work/memory"
[tools]
dir = "$work/plugins"
[log]
level = "${LOG:-info}"
TOML

"$METER/mock-upstream" --listen "$mock" > /dev/null & pids+=($!)
"$pass_through" "$bare" "$mock" 2> /dev/null & bare_pid=$!; pids+=("$bare_pid")
target/release/yychat --config "$work/yychat.toml" 2> "$work/log" & api_pid=$!; pids+=("$api_pid")
target/release/yychat --config "$work/yychat.toml" --set "server.listen=$remembering" \
  --set server.admin_listen=127.0.0.1:9185 --set memory.enabled=true 2> "$work/log-memory" &
remembering_pid=$!; pids+=("$remembering_pid")
for address in "$mock" "$bare" "$api" "$remembering"; do
  curl -s --retry 50 --retry-connrefused --retry-delay 0 -o /dev/null "http://$address/v1/models"
done

echo "# CPU and throughput at 50 connections, yychat (B) against bare pingora (A); medians over $rounds rounds"
for body in 1k 10k 200k 2m; do
  "$METER/meter" closed --a "http://$bare/v1" --b "http://$api/v1" --body "$body" -c 50 \
    --duration "$seconds" --rounds "$rounds" --pid-a "$bare_pid" --pid-b "$api_pid" > "$work/$body.json"
  jq -r --arg body "$body" '"\($body): CPU \(.b.cpu_s_per_10k / .a.cpu_s_per_10k), \(.compare | tostring)"' "$work/$body.json"
done

# What the meter says is of the café; the same words each time, so the recall is in the cache.
for day in {1..40}; do
  jq -n --arg text "On day $day the café on 5th street had $day guests, and we talked about Rust." \
    '{user_id: "bench", $text}' | curl -sf -o /dev/null -H 'Content-Type: application/json' \
    --data-binary @- "http://$remembering/v1/memories"
done
echo "# the same with memory injected from a warm cache (B)"
for body in 1k 10k; do
  "$METER/meter" closed --a "http://$bare/v1" --b "http://$remembering/v1" --body "$body" -c 50 \
    --header-b 'X-YYChat-User-Id: bench' --header-b 'X-YYChat-Memory: readonly' \
    --duration "$seconds" --rounds "$rounds" --pid-a "$bare_pid" --pid-b "$remembering_pid" \
    > "$work/memory-$body.json"
  jq -r --arg body "$body" '"\($body): CPU \(.b.cpu_s_per_10k / .a.cpu_s_per_10k), \(.compare | tostring)"' "$work/memory-$body.json"
done
curl -s "http://127.0.0.1:9185/metrics" | grep yychat_memory_cache_total

echo "# added latency at one connection against no proxy, request by request"
"$METER/meter" closed --a "http://$mock/v1" --b "http://$api/v1" --paired -r 4000 > "$work/paired.json"
jq -c '.pair_diff_us // .compare' "$work/paired.json"

echo "# streams: time to the first event and gaps between events, 1 ms apart, against no proxy"
"$METER/meter" closed --a "http://$mock/v1" --b "http://$api/v1" --paired -r 400 --stream \
  --chunks 20 --delay-us 1000 > "$work/stream.json"
jq -c '{a: {ttft: .a.ttft_us, gap: .a.event_gap_us}, b: {ttft: .b.ttft_us, gap: .b.event_gap_us}, pair_diff_us}' "$work/stream.json"

echo "# bytes, over 16 tags"
"$METER/meter" exact --a "http://$mock/v1" --b "http://$api/v1" --tags 16 | jq -c '.'

echo "# resident memory at 50 connections"
"$METER/meter" proc --pid "$api_pid" | jq -c '.'
cp "$work"/*.json "${OUT:-/dev/null}" 2>/dev/null || true
