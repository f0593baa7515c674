# For the scripts beside it, which source it: a folder and processes that are gone at the end, ports,
# and patience.
work=$(mktemp -d)
pids=
clean() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
fail() {
    echo "FAILED: $1" >&2
    cat "$work"/*.log >&2
    exit 1
}
# Repeats a command until it succeeds, for a minute at most.
until_ok() {
    deadline=$(($(date +%s) + 60))
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || fail "$*"
        sleep 0.2
    done
}
