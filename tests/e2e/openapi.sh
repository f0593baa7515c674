#!/bin/sh
# Schemathesis against the gateway's own endpoints, by the description that the program itself prints.
#
#   [EXAMPLES=100] tests/e2e/openapi.sh [yychat]
#
# Needs python3 with venv, and curl. Schemathesis is installed into a folder that is removed at the end; PREFIX
# names one that is kept and used again.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
yychat=$(realpath "${1:-target/debug/yychat}")
. "$here/support.sh"

prefix=$(realpath -m "${PREFIX:-$work/venv}")
if [ ! -e "$prefix/bin/schemathesis" ]; then
    python3 -m venv "$prefix"
    "$prefix/bin/pip" install --quiet schemathesis openapi-spec-validator
fi

"$yychat" openapi >"$work/openapi.json"
"$prefix/bin/openapi-spec-validator" "$work/openapi.json"
key=admin-key-of-the-test
gateway "$work" env OPENAI_BASE_URL=http://127.0.0.1:9/v1 OPENAI_API_KEY=unused "YYCHAT_ADMIN_KEY=$key" "$yychat" \
    --set "tools.dir=$here/../../plugins" --set log.level=warn
examples=${EXAMPLES:-100}
# It keeps what it has seen in the folder that it is run in.
cd "$work"
try() {
    "$prefix/bin/schemathesis" --config-file "$here/openapi.toml" run "$work/openapi.json" --no-color \
        --max-examples "$examples" --continue-on-failure "$@"
}
try --url "${api%/v1}" --exclude-path-regex '^/[^v]|/import$'
# What never ends is no answer to judge, and lines of JSON it cannot make.
try --url "http://$admin" --header "Authorization: Bearer $key" --exclude-path-regex '^/(events$|v1/(personalities|tools|preview|memories/import))'
