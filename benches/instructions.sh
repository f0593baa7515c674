#!/usr/bin/env bash
# What a request costs in instructions: those that yychat and bare pingora retire in user space, by
# Valgrind's callgrind, which other work on the machine does not change as it changes times.
#
#   benches/instructions.sh [REQUESTS]
#
# Each row is the default configuration with what it names left out or put in: `persona` is asked to offer
# no tools and names nobody, `tools` offers the shipped ones, `recalled` asks the same again and saves nothing,
# `asked` asks something new each time, `saved` is the whole default with something new said each time; the
# last are streams of 24 events. What the gateway does after the answer is counted too. The kernel's part is
# not. BUILD=no takes what was built before, PROFILES=DIR keeps callgrind's profiles. Needs cargo, python3 and
# valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}/release
[[ ${BUILD:-yes} == no ]] || cargo build --quiet --release --bin yychat --bench pass_through
pass_through=$(find "$target/deps" -maxdepth 1 -name 'pass_through-*' -executable -type f \
  -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
exec python3 benches/instructions.py "$target/yychat" "$pass_through" "${1:-200}"
