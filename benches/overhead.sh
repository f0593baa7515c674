#!/usr/bin/env bash
# What the gateway costs: yychat as it is shipped, with a 1 KB persona, against bare pingora and against no
# proxy.
#
#   METER=path/to/meter/target/release benches/overhead.sh [SECONDS [ROUNDS [STARTS]]]
#
# METER holds the binaries `meter` and `mock-upstream`. The default comes first: persona, the shipped tools
# offered, memory recalled and the turn saved. Then what of it is left out by a header: saving, all of memory,
# the tools. Everything runs on loopback, in pairs that alternate, and medians are printed. One start of a
# program is a few per cent faster than another of the same, so both are started anew several times: of each
# start the median of its rounds counts, and the median of these is printed. BUILD=no takes what was built
# before; LOG is the level of the log. Needs cargo, curl, jq and python3. Run it on an otherwise idle machine;
# benches/instructions.sh is for one that is not.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-2} rounds=${2:-5} starts=${3:-5}
. benches/support.sh

target=${CARGO_TARGET_DIR:-target}/release
[[ ${BUILD:-yes} == no ]] || cargo build --quiet --release --bin yychat --bench pass_through
pass_through=$(find "$target/deps" -maxdepth 1 -name 'pass_through-*' -executable -type f \
  -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
mapfile -t free < <(addresses 4)
mock=${free[0]} bare=${free[1]} api=${free[2]} admin=${free[3]}
upstream "$mock"

user=(--header-b 'X-YYChat-User-Id: bench')
writer=(--header-b 'X-YYChat-User-Id: writer')
readonly=("${user[@]}" --header-b 'X-YYChat-Memory: readonly')
toolless=(--header-b 'X-YYChat-Use-Tools: false')

start() {
  "$pass_through" "$bare" "$mock" 2> /dev/null & pid[bare]=$!
  await "$bare" "$!"
  gateway yychat "$target/yychat" "$api" "$admin" --set "log.level=${LOG:-info}" --set tools.dir=plugins \
    --set memory.enabled=true --set "memory.path=$work/memory-$1"
  # What the meter says is of the café; the same words each time, so the recall is in the cache.
  for day in {1..40}; do
    jq -n --arg text "On day $day the café on 5th street had $day guests, and we talked about Rust." \
      '{user_id: "bench", $text}' | curl -sf -o /dev/null -H 'Content-Type: application/json' \
      --data-binary @- "http://$api/v1/memories"
  done
}

# with ROW BODY [OPTION…]
with() { row=$1 pair bare "$bare" yychat "$api" "$2" "${@:3}"; }

lost=0
for number in $(seq "$starts"); do
  [[ $number == 1 ]] || stop
  start "$number"
  for body in 1k 10k 200k 2m; do with default "$body" "${writer[@]}"; done
  with default-stream 1k --stream "${writer[@]}"
  for body in 1k 10k; do with recalled "$body" "${readonly[@]}"; done
  with tools 1k
  with tools-stream 1k --stream
  for body in 1k 10k 200k 2m; do with persona "$body" "${toolless[@]}"; done
  with persona-stream 1k --stream "${toolless[@]}"
  lost=$((lost + $(curl -s "http://$admin/metrics" |
    awk '/^yychat_memory_writes_total\{outcome="(overflow|failed)"\}/ {n += $2} END {print n + 0}')))
done
echo "# throughput and CPU a request, as ratios to bare pingora, at 50 connections: medians over $starts starts"
echo "# the default: persona, tools offered, memory recalled, the turn saved"
medians default-{1k,10k,200k,2m} default-stream-1k
echo "turns lost: $lost"
echo "# nothing saved"
medians recalled-{1k,10k}
echo "# nobody named, so no memory"
medians tools-1k tools-stream-1k
echo "# and no tools"
medians persona-{1k,10k,200k,2m} persona-stream-1k

echo "# added latency at one connection against no proxy, request by request: the default"
"$METER/meter" closed --a "http://$mock/v1" --b "http://$api/v1" "${writer[@]}" --paired -r 4000 |
  jq -c '.pair_diff_us // .compare'

echo "# streams: time to the first event and gaps between events, 1 ms apart, against no proxy: the default"
for through in "$bare" "$api"; do
  "$METER/meter" closed --a "http://$mock/v1" --b "http://$through/v1" "${writer[@]}" --paired -r 400 \
    --stream --chunks 20 --delay-us 1000 |
    jq -c '{a: {ttft: .a.ttft_us, gap: .a.event_gap_us}, b: {ttft: .b.ttft_us, gap: .b.event_gap_us}}'
done

echo "# bytes, over 16 tags"
"$METER/meter" exact --a "http://$mock/v1" --b "http://$api/v1" --tags 16 | jq -c '.'

echo "# resident memory after all of these"
"$METER/meter" proc --pid "${pid[yychat]}" | jq -c '.'
