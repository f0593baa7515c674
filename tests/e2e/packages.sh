#!/usr/bin/env bash
# Installs each package of scripts/dist in a clean Debian, and runs what it installed.
#
#   tests/e2e/packages.sh [FOLDER]     default: target/dist-VERSION
#
# SUITE   the Debian release, default bookworm: the oldest that packages are made for
# MIRROR  where its packages are fetched from
#
# Needs root, for debootstrap and chroot, and says what it installs.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
dist=$(realpath "${1:-target/dist-$version}")
suite=${SUITE:-bookworm}
say() { printf 'packages: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

((EUID == 0)) || die "it makes a Debian of its own in a folder, which needs root"
[[ -f $dist/SHA256SUMS ]] || die "there is nothing in $dist: run scripts/dist first"
if ! command -v debootstrap >/dev/null; then
    say "installing Debian's package debootstrap"
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends debootstrap
fi

root=$(mktemp -d)
# The mounts of one namespace end with it, however this script ends.
if [[ -z ${PACKAGES_IN_NAMESPACE:-} ]]; then
    rmdir "$root"
    PACKAGES_IN_NAMESPACE=1 exec unshare --mount --pid --fork --kill-child "$0" "$@"
fi
trap 'umount -l "$root/proc" 2>/dev/null; rm -rf --one-file-system "$root" "$root.log"' EXIT
say "making a Debian $suite in $root"
debootstrap --variant=minbase --include=ca-certificates \
    "$suite" "$root" ${MIRROR:+"$MIRROR"} >"$root.log" || { tail "$root.log" >&2; exit 1; }
mount -t proc proc "$root/proc"
mkdir "$root/dist"
cp "$dist"/* "$root/dist"

inside() { chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }

# As a user of it would, but for the mirror and the way to it, which are the host's.
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
inside apt-get update -q >>"$root.log"
inside env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    curl npm python3-pip python3-venv >>"$root.log" 2>&1 || { tail "$root.log" >&2; exit 1; }

# The demo upstream answers, the persona is put in, and it stops when it is told.
runs() {
    local what=$1 program=$2
    inside "$program" --version | grep -F "yychat $version" >/dev/null || die "$what: --version"
    # shellcheck disable=SC2016 # it is the inner shell that expands them
    inside bash -euo pipefail -c '
        "$1" demo --set server.listen=127.0.0.1:18000 --set server.admin_listen=127.0.0.1:19090 >/tmp/demo 2>&1 &
        gateway=$!
        trap "kill $gateway" EXIT
        curl --silent --fail --retry 50 --retry-delay 1 --retry-connrefused \
            http://127.0.0.1:19090/readyz >/dev/null
        curl --silent --show-error --fail http://127.0.0.1:18000/v1/personalities | grep -F friendly >/dev/null
        trap - EXIT
        kill "$gateway"
        wait "$gateway"
    ' _ "$program" || { cat "$root/tmp/demo" >&2; die "$what: it does not serve"; }
    say "$what: runs"
}

inside bash -c 'cd /dist && sha256sum --check --quiet SHA256SUMS'

inside bash -c 'tar -xzf /dist/yychat-*-linux-gnu.tar.gz -C /opt && ln -s /opt/yychat-*/yychat /opt/yychat'
runs tarball /opt/yychat
inside bash -c 'cd /opt/yychat-*/ && ./yychat check' >&2

inside bash -c 'apt-get install -q -y --no-install-recommends /dist/yychat_*.deb' >&2
runs deb /usr/bin/yychat
inside bash -c 'cd /etc/yychat && yychat check && test -f /lib/systemd/system/yychat.service &&
    test -f /usr/share/man/man1/yychat.1.gz && test -f /usr/share/bash-completion/completions/yychat'
inside apt-get remove -q -y yychat >&2
inside test -f /etc/yychat/conf/yychat.toml || die "deb: removing it took the configuration away"
inside apt-get purge -q -y yychat >&2

inside python3 -m venv /opt/venv
inside bash -c '/opt/venv/bin/pip install --quiet --no-index /dist/yychat-*.whl'
runs wheel /opt/venv/bin/yychat

inside bash -c 'npm install --global --offline --no-audit --no-fund /dist/yychat-linux-*.tgz >/dev/null &&
    npm install --global --offline --no-audit --no-fund --omit=optional /dist/yychat-[0-9]*.tgz >/dev/null'
runs npm "$(inside npm prefix --global)/bin/yychat"

inside env YYCHAT_RELEASES=file:///releases BIN=/opt/bin bash -euo pipefail -c "
    mkdir -p /releases/v$version && cp /dist/* /releases/v$version"
cp deploy/install.sh "$root/opt/install.sh"
inside env YYCHAT_RELEASES=file:///releases BIN=/opt/bin sh /opt/install.sh "$version"
runs install.sh /opt/bin/yychat
say "all packages install and run"
