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
# Starts a gateway in the folder $1 by the command that follows, on ports of its own; its addresses are
# left in $api and $admin, its id in $pid.
gateway() {
    home=$1
    shift
    listen=127.0.0.1:$(free_port)
    admin=127.0.0.1:$(free_port)
    (cd "$home" && exec "$@" --set "server.listen=$listen" --set "server.admin_listen=$admin") &
    pid=$!
    pids="$pids $pid"
    until curl -fsS -o "$work/ready" "http://$admin/readyz" 2>"$work/curl"; do
        kill -0 "$pid" || exit 1
        sleep 0.1
    done
    api=http://$listen/v1
}
# Repeats a command until it succeeds, for a minute at most.
until_ok() {
    deadline=$(($(date +%s) + 60))
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || fail "$*"
        sleep 0.2
    done
}
