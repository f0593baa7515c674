#!/usr/bin/env bash
# What the gateway costs: yychat with a 1 KB persona against bare pingora and against no proxy.
#
#   METER=path/to/meter/target/release benches/overhead.sh [SECONDS [ROUNDS [STARTS]]]
#
# METER holds the binaries `meter` and `mock-upstream`. Everything runs on loopback, in pairs that
# alternate, and medians are printed. One start of a program is a few per cent faster than another of the
# same, so both are started anew several times: of each start the median of its rounds counts, and the median
# of these is printed. BUILD=no takes what was built before; LOG is the level of the log. Needs cargo, curl, jq
# and python3. Run it on an otherwise idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-2} rounds=${2:-5} starts=${3:-5}
. benches/support.sh

[[ ${BUILD:-yes} == no ]] || cargo build --quiet --release --bin yychat --bench pass_through
pass_through=$(find target/release/deps -maxdepth 1 -name 'pass_through-*' -executable -type f \
  -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
mapfile -t free < <(addresses 6)
mock=${free[0]} bare=${free[1]} api=${free[2]} remembering=${free[3]} admin=${free[5]}
upstream "$mock"

start() {
  "$pass_through" "$bare" "$mock" 2> /dev/null & pid[bare]=$!
  await "$bare" "$!"
  gateway yychat target/release/yychat "$api" "${free[4]}" --set "log.level=${LOG:-info}"
  gateway memory target/release/yychat "$remembering" "$admin" --set "log.level=${LOG:-info}" \
    --set memory.enabled=true --set "memory.path=$work/memory-$1"
  # What the meter says is of the café; the same words each time, so the recall is in the cache.
  for day in {1..40}; do
    jq -n --arg text "On day $day the café on 5th street had $day guests, and we talked about Rust." \
      '{user_id: "bench", $text}' | curl -sf -o /dev/null -H 'Content-Type: application/json' \
      --data-binary @- "http://$remembering/v1/memories"
  done
}
for number in $(seq "$starts"); do
  [[ $number == 1 ]] || stop
  start "$number"
  for body in 1k 10k 200k 2m; do pair bare "$bare" yychat "$api" "$body"; done
  for body in 1k 10k; do
    pair bare "$bare" memory "$remembering" "$body" \
      --header-b 'X-YYChat-User-Id: bench' --header-b 'X-YYChat-Memory: readonly'
  done
done
echo "# throughput and CPU a request, as ratios to bare pingora, at 50 connections: medians over $starts starts"
medians yychat-{1k,10k,200k,2m}
echo "# the same with memory injected from a warm cache"
medians memory-{1k,10k}
curl -s "http://$admin/metrics" | grep ^yychat_memory_cache_total

echo "# added latency at one connection against no proxy, request by request"
"$METER/meter" closed --a "http://$mock/v1" --b "http://$api/v1" --paired -r 4000 | jq -c '.pair_diff_us // .compare'

echo "# streams: time to the first event and gaps between events, 1 ms apart, against no proxy"
"$METER/meter" closed --a "http://$mock/v1" --b "http://$api/v1" --paired -r 400 --stream \
  --chunks 20 --delay-us 1000 |
  jq -c '{a: {ttft: .a.ttft_us, gap: .a.event_gap_us}, b: {ttft: .b.ttft_us, gap: .b.event_gap_us}, pair_diff_us}'

echo "# bytes, over 16 tags"
"$METER/meter" exact --a "http://$mock/v1" --b "http://$api/v1" --tags 16 | jq -c '.'

echo "# resident memory at 50 connections"
"$METER/meter" proc --pid "${pid[yychat]}" | jq -c '.'
