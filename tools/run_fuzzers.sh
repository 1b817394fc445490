#!/usr/bin/env bash
# run_fuzzers.sh BUILD_DIR SECONDS: every *_fuzz program, as many at a time as there are CPUs.
# Seeds: tests/fuzz/corpus/NAME/ when it exists. A finding prints its log and its input's path.
set -euo pipefail
build=$1 seconds=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fuzz_one() {
  local program=$1 name
  name=$(basename "$program")
  local work=$build/fuzz-work/$name seeds=$root/tests/fuzz/corpus/${name%_fuzz}
  mkdir -p "$work"
  [ -d "$seeds" ] || seeds=
  if "$program" "$work" $seeds -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 \
    -max_len=65536 -artifact_prefix="$work/finding-" >"$work.log" 2>&1; then
    printf '%-28s ok   %s\n' "$name" "$(grep -o 'Done.*' "$work.log" | tail -n 1)"
  else
    printf '%-28s FOUND\n' "$name"
    tail -n 40 "$work.log"
    return 1
  fi
}
export -f fuzz_one
export build seconds root

mapfile -t programs < <(find "$build/tests/fuzz" -maxdepth 1 -type f -name '*_fuzz' -perm -u+x | sort)
[ ${#programs[@]} -gt 0 ] || { echo "no fuzz programs under $build/tests/fuzz" >&2; exit 2; }
mkdir -p "$build/fuzz-work"
printf '%s\n' "${programs[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz_one {}'
