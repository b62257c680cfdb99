#!/usr/bin/env bash
# Sets the wall clock of a running server forward and back by an hour, and shows that deadlines
# stay where they are.
#
#   benches/clock_step.sh [target/release/emberkeep]
#
# Nobody's clock is changed: libfaketime (Debian: apt-get install faketime) answers for the wall
# clock of the one process, from a file. That the process sees the step is shown by the time in its
# log. (redis-server cannot be shown so: libfaketime and its allocator call each other.) The monotonic clocks are left alone, as they are when somebody sets a real clock.
set -euo pipefail

binary=${1:-target/release/emberkeep}
library=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -1)
[ -n "$library" ] || { echo "libfaketime is not there: apt-get install faketime" >&2; exit 2; }
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
failed=0

# step <seconds>: sets the wall clock of what runs under `faked`.
step() { echo "$1" >"$dir/offset"; }
# Runs in the background only: it becomes the command, so that its id is the command's.
faked() {
  exec env LD_PRELOAD="$library" FAKETIME_TIMESTAMP_FILE="$dir/offset" FAKETIME_NO_CACHE=1 \
    DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1 "$@"
}
# expect <what> <wanted> <found>
expect() {
  if [ "$2" = "$3" ]; then echo "  as it should be: $1: $3"; else echo "  WRONG: $1: $3, not $2"; failed=1; fi
}

# serve <name>: a server of its own, on a clock that is right.
serve() {
  step +0
  faked "$binary" --port 0 --data-dir "$dir/$1" >"$dir/$1.log" 2>&1 &
  pid=$!
  pids+=("$pid")
  for _ in $(seq 100); do grep -q 'listening on' "$dir/$1.log" && break; sleep 0.1; done
  url=$(sed -n 's/^listening on //p' "$dir/$1.log")
}
status() { curl -s -o /dev/null -w '%{http_code}' "$url/v1/keys/$1"; }
put() { curl -sf -o /dev/null -X PUT --data-binary v "$url/v1/keys/$1?ttl=$2"; }

for jump in 3600 -3600; do
  echo "emberkeep, the wall clock is set by $jump s:"
  serve "jump$jump"
  put short 4s
  put long 60s
  step "$(printf '%+d' "$jump")"
  sleep 2
  expect "2 s later, a key with 4 s" 200 "$(status short)"
  sleep 2.3
  expect "4.3 s after it was written" 404 "$(status short)"
  expect "a key with 60 s" 200 "$(status long)"
  # What it says when it stops carries the time that it sees.
  kill "$pid"
  wait "$pid" || true
  said=$(grep -o '20[0-9-]*T[0-9:]*' "$dir/jump$jump.log" | tail -1)
  moved=$(($(date -d "${said}Z" +%s) - $(date +%s)))
  seen=no
  [ $((moved - jump)) -lt 60 ] && [ $((jump - moved)) -lt 60 ] && seen=yes
  expect "it did see its wall clock move" yes "$seen"
done

exit $failed
