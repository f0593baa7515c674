#!/bin/sh
# Installs a released yychat for this machine: checks its checksum, and puts the program into
# ~/.local/bin, or into the folder that BIN names.
#
#   YYCHAT_RELEASES=URL sh install.sh [VERSION]
#
# URL is where the releases lie, one folder for each version, such as
# https://github.com/OWNER/yychat/releases/download; releases carry this file with their own in it.
set -eu

releases=${YYCHAT_RELEASES:-}
newest=${YYCHAT_VERSION:-}
bin=${BIN:-$HOME/.local/bin}
version=${1:-$newest}

die() {
    echo "install: $*" >&2
    exit 1
}

[ -n "$releases" ] || die "set YYCHAT_RELEASES to where the releases lie"
[ -n "$version" ] || die "name a version: sh install.sh 0.1.0"
version=${version#v}
[ "$(uname -s)" = Linux ] || die "there are programs for Linux alone: build it, or use its image"
case $(uname -m) in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) die "there is no program for $(uname -m): build it with cargo install yychat" ;;
esac

if command -v curl >/dev/null; then
    get() { curl --fail --location --silent --show-error --output "$2" "$1"; }
elif command -v wget >/dev/null; then
    get() { wget --quiet --output-document="$2" "$1"; }
else
    die "neither curl nor wget is here"
fi

name=yychat-$version-$machine-unknown-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "install: fetching $name from $releases" >&2
get "$releases/v$version/SHA256SUMS" "$work/SHA256SUMS" || die "there is no version $version"
get "$releases/v$version/$name.tar.gz" "$work/$name.tar.gz" || die "there is no $name"
grep -F "  $name.tar.gz" "$work/SHA256SUMS" >"$work/sum" || die "SHA256SUMS does not name $name"
(cd "$work" && sha256sum --check --quiet sum) || die "the file is not what was released"

tar -xzf "$work/$name.tar.gz" -C "$work"
"$work/$name/yychat" --version >/dev/null ||
    die "it does not run here: it needs glibc 2.34 or later (Debian 12, Ubuntu 22.04, RHEL 9)"
mkdir -p "$bin"
# Renamed over an older one, so that a gateway that runs can be told to take the new one.
cp "$work/$name/yychat" "$bin/.yychat.new"
mv "$bin/.yychat.new" "$bin/yychat"
echo "install: $("$bin/yychat" --version) is in $bin" >&2
case :$PATH: in
    *":$bin:"*) ;;
    *) echo "install: $bin is not on your PATH: export PATH=\"$bin:\$PATH\"" >&2 ;;
esac
echo "install: yychat demo shows it at work, yychat init begins a configuration here" >&2
