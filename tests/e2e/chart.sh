#!/bin/sh
# The Helm chart, linted and rendered by Helm's own code, each object checked strictly against the
# schemas of several Kubernetes versions, and its yychat.toml by `yychat check`; what cannot work is
# refused.
#
#   tests/e2e/chart.sh [path of the yychat binary]
#
# Needs python3 with venv and PyPI: helm-python-sdk (Helm 4 as a library, 75 MB) and
# kubernetes-validate go into target/chart.
set -eu

yychat=$(realpath "${1:-target/debug/yychat}")
cd "$(dirname "$0")/../.."
. tests/e2e/support.sh

python=target/chart/bin/python
if [ ! -x "$python" ]; then
    python3 -m venv target/chart
    target/chart/bin/pip install -q helm-python-sdk==0.2.2 kubernetes-validate==1.37.0
fi
"$python" tests/e2e/chart.py deploy/chart "$yychat" "$work" || fail "the chart is not in order"
"$python" -m kubernetes_validate --strict --no-warn --quiet deploy/kubernetes.yaml || fail "deploy/kubernetes.yaml"
echo "chart.sh: all held"
