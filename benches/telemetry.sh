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
seconds=${1:-2} rounds=${2:-7} starts=${3:-9}
. benches/support.sh

cargo build --quiet --release --bin yychat --features blind
cp target/release/yychat "$work/blind"
cargo build --quiet --release --bin yychat
cp target/release/yychat "$work/seeing"

mapfile -t free < <(addresses 8)
receiver=${free[1]} off=${free[2]} on=${free[3]} traced=${free[4]}
upstream "${free[0]}"
python3 - "${receiver#*:}" "$work/exports" <<'PY' & pids+=($!)
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

for _ in $(seq "$starts"); do
  gateway off "$work/blind" "$off" "${free[5]}"
  gateway on "$work/seeing" "$on" "${free[6]}"
  gateway traced "$work/seeing" "$traced" "${free[7]}" \
    --set "traces.endpoint=http://$receiver" --set traces.sample_ratio=0.01
  for body in 1k 10k; do
    pair off "$off" on "$on" "$body"
    pair off "$off" traced "$traced" "$body"
  done
  stop
done
echo "# throughput and CPU a request, as ratios to all of it off, at 50 connections: medians over $starts starts"
medians {on,traced}-{1k,10k}
[[ $(wc -l < "$work/on.log") -gt 1000 && ! $(wc -l < "$work/off.log") -gt 100 ]] \
  || { echo "FAILED: the two do not differ as they should" >&2; exit 1; }
[[ -s $work/exports ]] || { echo "FAILED: no trace was exported" >&2; exit 1; }
echo "# exports: $(wc -l < "$work/exports"), $(awk '{s += $1} END {print s}' "$work/exports") bytes"
