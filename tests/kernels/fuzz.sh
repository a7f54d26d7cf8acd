#!/usr/bin/env bash
# Fuzz the kernels under the address and undefined-behaviour sanitizers: fuzz.sh [SECONDS [SEED [CELL]]]
# SANITIZE=thread looks for races instead; ARCH=x86-64-v3 and the like build for another vector width.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../../keras_gates/kernels/source
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
kernels=$(find "$source" -maxdepth 1 -name '*.cc' ! -name memory.cc)
# shellcheck disable=SC2086
"${CXX:-g++}" -std=c++17 -O1 -g1 -march="${ARCH:-native}" -fno-math-errno -fno-trapping-math -ffp-contract=fast \
  -Wall -Wextra -Werror -pthread -fsanitize="${SANITIZE:-address,undefined}" -fno-sanitize-recover=all \
  -I"$source" "$here/fuzz.cc" "$here/scratch_apart.cc" $kernels -o "$build/fuzz"
"$build/fuzz" "${1:-600}" "${@:2}"
