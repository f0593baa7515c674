#!/usr/bin/env bash
# What watching costs: yychat with its metrics, ledger, ring and log line (B), and with traces at 1 %
# beside them (C), against a build without any of it (A).
#
#   METER=path/to/meter/target/release benches/telemetry.sh [SECONDS [ROUNDS [STARTS]]]
#
# METER holds the binaries `meter` and `mock-upstream`. The build without is the feature `blind`, which
# is there for this alone, so that nobody pays for a switch. The log goes to a file, traces to a receiver that
# throws them away. Everything runs on loopback, in pairs that alternate. One start of a program is a few
# per cent faster than another of the same, so all are started anew several times: of each start the median
# of its rounds counts, and the median of these is printed. Needs cargo, curl, jq and python3. Run it on an
# otherwise idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${METER:?set METER to the folder that holds the binaries meter and mock-upstream}"
seconds=${1:-2} rounds=${2:-7} starts=${3:-9}

work=$(mktemp -d)
pids=()
declare -A pid
cleanup() { kill "${pids[@]}" "${pid[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT

cargo build --quiet --release --bin yychat --features blind
cp target/release/yychat "$work/blind"
cargo build --quiet --release --bin yychat
cp target/release/yychat "$work/seeing"

mapfile -t ports < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(8)]
for s in sockets: s.bind(("127.0.0.1", 0))
for s in sockets: print(s.getsockname()[1])')
mock=127.0.0.1:${ports[0]} receiver=127.0.0.1:${ports[1]}

mkdir "$work/personalities" "$work/plugins"
persona=$(printf 'You are a patient assistant who answers in short, plain sentences. %.0s' {1..15})
jq -n --arg p "${persona:0:1024}" '{id: "bench", name: "Bench", system_prompt: $p}' \
  > "$work/personalities/bench.json"
cat > "$work/yychat.toml" <<TOML
[[upstreams]]
name = "mock"
base_url = "http://$mock/v1"
[personality]
dir = "$work/personalities"
default = "bench"
[memory]
enabled = false
[tools]
dir = "$work/plugins"
TOML

"$METER/mock-upstream" --listen "$mock" > /dev/null & pids+=($!)
python3 - "${ports[1]}" "$work/exports" <<'PY' & pids+=($!)
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[2], "a") as exports:
            print(len(body), file=exports)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
PY

# gateway NAME BINARY PORT ADMIN [--set …]
gateway() {
  local name=$1 binary=$2 api=127.0.0.1:$3 admin=127.0.0.1:$4
  "$work/$binary" --config "$work/yychat.toml" --set "server.listen=$api" \
    --set "server.admin_listen=$admin" "${@:5}" 2>> "$work/$name.log" & pid[$name]=$!
  until curl -s -o /dev/null "http://$api/v1/models"; do kill -0 "${pid[$name]}"; done
}

# pair NAME PORT BODY: what of the throughput is left, and what of the processor time is added
pair() {
  "$METER/meter" closed --a "http://127.0.0.1:${ports[2]}/v1" --b "http://127.0.0.1:$2/v1" --body "$3" -c 50 \
    --duration "$seconds" --rounds "$rounds" --pid-a "${pid[off]}" --pid-b "${pid[$1]}" |
    jq -c '[.compare.rps_b_over_a.median, .b.cpu_s_per_10k / .a.cpu_s_per_10k]' >> "$work/$1-$3"
}
for _ in $(seq "$starts"); do
  gateway off blind "${ports[2]}" "${ports[3]}"
  gateway on seeing "${ports[4]}" "${ports[5]}"
  gateway traced seeing "${ports[6]}" "${ports[7]}" \
    --set "traces.endpoint=http://$receiver" --set traces.sample_ratio=0.01
  for body in 1k 10k; do
    pair on "${ports[4]}" "$body"
    pair traced "${ports[6]}" "$body"
  done
  kill "${pid[@]}"
  wait "${pid[@]}" || true
  pid=()
done
echo "# throughput and CPU a request, as ratios to all of it off, at 50 connections: medians over $starts starts"
for name in on-1k traced-1k on-10k traced-10k; do
  jq -sr --arg name "$name" 'def median: sort | .[length / 2 | floor];
    "\($name): throughput \(map(.[0]) | median), CPU \(map(.[1]) | median * 1000 | round / 1000)"' "$work/$name"
done
[[ $(wc -l < "$work/on.log") -gt 1000 && ! $(wc -l < "$work/off.log") -gt 100 ]] \
  || { echo "FAILED: the two do not differ as they should" >&2; exit 1; }
[[ -s $work/exports ]] || { echo "FAILED: no trace was exported" >&2; exit 1; }
echo "# exports: $(wc -l < "$work/exports"), $(awk '{s += $1} END {print s}' "$work/exports") bytes"
