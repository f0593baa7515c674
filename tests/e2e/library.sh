#!/bin/sh
# OpenAI's own tests of its Python library against a mock of OpenAI's specification, directly and through
# a running yychat: the same ones have to pass. Prints a table.
#
#   tests/e2e/library.sh [path of the yychat binary]
#
# Needs python3 with venv, node 20 with npm, git, and curl. SPEC names a copy of openapi.yaml (of
# https://github.com/openai/openai-openapi); without it, the repository is cloned. PREFIX names a folder
# that has node_modules with prism and a Python environment in v/ already.
set -eu

yychat=$(realpath "${1:-target/debug/yychat}")
spec=${SPEC:+$(realpath "$SPEC")}
. "$(dirname "$0")/support.sh"

prefix=${PREFIX:-$work/prefix}
if [ ! -e "$prefix/v" ]; then
    python3 -m venv "$prefix/v"
    "$prefix/v/bin/pip" install --quiet 'openai[aiohttp,realtime]' httpx pytest pytest-asyncio \
        pytest-timeout pytest-xdist pillow trio rich inline-snapshot dirty-equals
    npm install --silent --prefix "$prefix" @stoplight/prism-cli
fi
if [ -z "$spec" ]; then
    git clone --quiet --depth 1 https://github.com/openai/openai-openapi "$work/spec"
    spec=$work/spec/openapi.yaml
fi
version=$("$prefix/v/bin/python" -c 'import openai; print(openai.__version__)')
"$prefix/v/bin/pip" download --quiet --no-deps --no-binary :all: "openai==$version" -d "$work"
tar -xzf "$work/openai-$version.tar.gz" -C "$work"

mock=$(free_port)
"$prefix/node_modules/.bin/prism" mock -p "$mock" "$spec" >"$work/mock.log" 2>&1 &
pids="$pids $!"
mkdir "$work/gateway"
cat >"$work/gateway/yychat.toml" <<END
[[upstreams]]
name = "mock"
base_url = "http://127.0.0.1:$mock"
default_model = "gpt-5"
END
gateway "$work/gateway" "$yychat" --config yychat.toml >"$work/yychat.log" 2>&1
# The mock reads three megabytes of specification first.
n=0
until curl -fsS -o "$work/models" "http://127.0.0.1:$mock/models" -H 'authorization: Bearer k' 2>"$work/curl.log"; do
    n=$((n + 1))
    [ $n -lt 300 ] || fail "the mock does not start: $(tail -n 3 "$work/mock.log")"
    sleep 1
done

# Runs the tests against base URL $1; writes those that passed into file $2.
run() {
    (cd "$work/openai-$version" && TEST_API_BASE_URL=$1 "$prefix/v/bin/python" -m pytest -q -rpfEs \
        -o addopts= --timeout 120 -p no:cacheprovider --tb=no --show-capture=no \
        tests/api_resources/chat tests/api_resources/test_completions.py \
        tests/api_resources/test_embeddings.py tests/api_resources/test_models.py \
        tests/api_resources/test_moderations.py tests/api_resources/responses \
        tests/api_resources/test_responses.py) >"$2.log" 2>&1 || true
    sed -n 's/^PASSED //p' "$2.log" | sort >"$2"
    sed -n 's/^\(FAILED\|ERROR\) \([^ ]*\).*/\2/p' "$2.log" | sort >"$2.failed"
    [ -s "$2" ] || fail "no test passed: $(tail -n 5 "$2.log")"
}

run "http://127.0.0.1:$mock" "$work/directly"
run "$api" "$work/through"

of() {
    grep -c "^tests/api_resources/$1" "$2" || true
}
printf '%-22s %9s %9s\n' '' directly through
for part in chat test_completions test_embeddings test_models test_moderations responses test_responses; do
    printf '%-22s %9s %9s\n' "$part" "$(of "$part" "$work/directly")" "$(of "$part" "$work/through")"
done
all=$(cat "$work/directly" "$work/directly.failed" | wc -l)
printf '%-22s %9s %9s\n' "of $all" "$(wc -l <"$work/directly")" "$(wc -l <"$work/through")"
if ! diff "$work/directly" "$work/through" >"$work/differ"; then
    cat "$work/differ"
    fail "what passes directly does not pass through yychat, or the other way round"
fi
echo "the same tests pass"
