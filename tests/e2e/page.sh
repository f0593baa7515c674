#!/bin/sh
# The dashboard page in a real browser: what needs none, then a server of fixtures, then a running
# yychat. Pictures of it go to target/page/.
#
#   tests/e2e/page.sh [path of the yychat binary]
#   tests/e2e/page.sh pictures      draws docs/pictures/ anew
#
# Needs node 20 with npm, and Chromium (CHROMIUM names it; /usr/bin/chromium otherwise).
set -eu

wanted=${1:-target/debug/yychat}
yychat=$(realpath -m "$wanted")
cd "$(dirname "$0")/page"
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
export CHROMIUM

packages=
command -v npm >/dev/null || packages="nodejs npm"
[ -x "$CHROMIUM" ] || packages="$packages chromium"
if [ -n "$packages" ]; then
    echo "page.sh: installing these system packages: $packages" >&2
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    $as_root apt-get update -q
    $as_root apt-get install -q -y --no-install-recommends $packages
fi
# The stamp says which lock the folder was installed from.
if ! cmp -s package-lock.json node_modules/.installed; then
    echo "page.sh: installing playwright-core and axe into tests/e2e/page/node_modules" >&2
    npm ci --silent --no-audit --no-fund
    cp package-lock.json node_modules/.installed
fi

if [ "$wanted" = pictures ]; then
    exec node pictures.mjs
fi
YYCHAT=$yychat exec node --test --test-concurrency=1 parts.test.mjs page.test.mjs work.test.mjs gateway.test.mjs
