#!/bin/sh
# A real Prometheus before a running `yychat demo`: it scrapes, the rules load, promtool finds
# nothing wrong with the exposition, and every panel's and alert's expression can be evaluated.
#
#   tests/e2e/prometheus.sh [path of the yychat binary]
#
# Needs prometheus and promtool (Debian: prometheus; PATH, or target/prometheus as scripts/setup
# --tests makes it), python3 and curl.
set -eu

yychat=$(realpath "${1:-target/debug/yychat}")
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/target/prometheus/usr/bin
. tests/e2e/support.sh

"$yychat" demo --set server.listen=127.0.0.1:0 --set server.admin_listen=127.0.0.1:0 >"$work/yychat.log" 2>&1 &
pids="$pids $!"
until_ok grep -q 'Ctrl-C ends it' "$work/yychat.log"
admin=$(sed -n 's|^ *http://\([0-9.:]*\)/  *(the page.*|\1|p' "$work/yychat.log")
[ -n "$admin" ] || fail "the demo does not say where its page is"

curl -fsS "http://$admin/metrics" >"$work/metrics.txt"
promtool check metrics <"$work/metrics.txt" >"$work/check.log" 2>&1 || fail "promtool check metrics"
[ ! -s "$work/check.log" ] || fail "promtool has something to say of the metrics"

cp conf/prometheus/*.yml "$work/"
sed -e "s|yychat:9090|$admin|" -e 's/_interval: 15s/_interval: 1s/' conf/prometheus/prometheus.yml >"$work/prometheus.yml"
grep -q "$admin" "$work/prometheus.yml" || fail "prometheus.yml has no target to replace"
promtool check config "$work/prometheus.yml" >"$work/config.log" 2>&1 || fail "promtool check config"
port=$(free_port)
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" \
    --web.listen-address="127.0.0.1:$port" >"$work/prometheus.log" 2>&1 &
pids="$pids $!"
ask() { promtool query instant "http://127.0.0.1:$port" "$1"; }
# Rates need two scrapes.
scraped() { ask 'count_over_time(up{job="yychat"}[1m]) >= 3 and up{job="yychat"} == 1' | grep -q .; }
until_ok scraped

python3 - >"$work/expressions" <<'PYTHON'
import glob, json
for path in sorted(glob.glob("conf/grafana/dashboards/*.json")):
    board = json.load(open(path))
    shown = [t["expr"] for panel in board["panels"] for t in panel.get("targets", [])]
    shown += [a["expr"] for a in board["annotations"]["list"]]
    for text in shown:
        for variable, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$instance", ".*")):
            text = text.replace(variable, value)
        print(text)
PYTHON
count=0
found=0
while IFS= read -r expression; do
    ask "$expression" >"$work/answer" 2>&1 || fail "$expression: $(cat "$work/answer")"
    count=$((count + 1))
    ! grep -q . "$work/answer" || found=$((found + 1))
done <"$work/expressions"
[ "$count" -gt 40 ] || fail "only $count expressions were found"
# The rest counts what a demo does not have: failures, refusals, reloads.
[ "$found" -gt $((count / 2)) ] || fail "only $found of $count expressions have an answer"

curl -fsS "http://127.0.0.1:$port/api/v1/rules" >"$work/rules.json"
python3 - "$work/rules.json" <<'PYTHON' || fail "an alert cannot be evaluated, or fires at a demo"
import json, sys
rules = [r for g in json.load(open(sys.argv[1]))["data"]["groups"] for r in g["rules"]]
bad = [(r["name"], r["health"], r["state"], r.get("lastError")) for r in rules if r["health"] == "err" or r["state"] == "firing"]
print(*bad, sep="\n", file=sys.stderr)
sys.exit(1 if bad or not rules else 0)
PYTHON
echo "passed: $count expressions, $found with an answer"
