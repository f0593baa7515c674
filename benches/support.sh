# For the scripts beside it, which source it from the project's folder: programs on loopback that are gone
# at the end, a gateway's configuration, and pairs of measurements.
: "${METER:?set METER to the folder that holds the binaries meter and mock-upstream}"

work=$(mktemp -d)
pids=()
# Those that are started anew, by name.
declare -A pid
cleanup() { kill -KILL "${pids[@]}" "${pid[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT

# addresses COUNT: that many on loopback, a line each
addresses() {
  python3 - "$1" <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets: s.bind(("127.0.0.1", 0))
for s in sockets: print("127.0.0.1:%d" % s.getsockname()[1])
PY
}

# await ADDRESS PID: until it answers, or has ended
await() {
  until curl -s -o /dev/null "http://$1/v1/models"; do kill -0 "$2"; done
}

# upstream ADDRESS: the meter's own, and a configuration before it with a persona of 1 KB
upstream() {
  mkdir "$work/personalities" "$work/plugins"
  local persona
  persona=$(printf 'You are a patient assistant who answers in short, plain sentences. %.0s' {1..15})
  jq -n --arg p "${persona:0:1024}" '{id: "bench", name: "Bench", system_prompt: $p}' \
    > "$work/personalities/bench.json"
  cat > "$work/yychat.toml" <<TOML
[[upstreams]]
name = "mock"
base_url = "http://$1/v1"
[personality]
dir = "$work/personalities"
default = "bench"
[memory]
enabled = false
path = "$work/memory"
[tools]
dir = "$work/plugins"
TOML
  "$METER/mock-upstream" --listen "$1" > /dev/null & pids+=($!)
  await "$1" "$!"
}

# gateway NAME BINARY ADDRESS ADMIN [--set …]; its log is $work/NAME.log
gateway() {
  "$2" --config "$work/yychat.toml" --set "server.listen=$3" --set "server.admin_listen=$4" "${@:5}" \
    2>> "$work/$1.log" & pid[$1]=$!
  await "$3" "$!"
}

# stop: those that are started anew; bare pingora would take its time over a drain
stop() {
  kill -KILL "${pid[@]}"
  wait "${pid[@]}" 2>/dev/null || true
  pid=()
}

# pair A ADDRESS B ADDRESS BODY [OPTION…]: throughput and processor time of B as ratios to A's, at 50
# connections; the median over `rounds` of `seconds` is kept for `medians` under $row, or B, and BODY
pair() {
  "$METER/meter" closed --a "http://$2/v1" --b "http://$4/v1" --body "$5" -c 50 "${@:6}" \
    --duration "$seconds" --rounds "$rounds" --pid-a "${pid[$1]}" --pid-b "${pid[$3]}" |
    jq -c '[.compare.rps_b_over_a.median, .b.cpu_s_per_10k / .a.cpu_s_per_10k]' >> "$work/${row:-$3}-$5"
}

# medians NAME-BODY…: over all starts
medians() {
  local name
  for name in "$@"; do
    jq -sr --arg name "$name" 'def median: sort | .[length / 2 | floor];
      "\($name): throughput \(map(.[0]) | median), CPU \(map(.[1]) | median * 1000 | round / 1000)"' "$work/$name"
  done
}
