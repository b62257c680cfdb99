# For the steps that start the server: to be sourced. Whatever ends the step ends the server too.

place=$(mktemp -d)
server_pid=
trap end_step EXIT

end_step() {
  kill_server
  rm -rf "$place"
}

# start_server <command…>: starts it in the background on a free port; sets server_pid and url.
start_server() {
  : >"$place/said"
  "$@" --port 0 --resp-port 0 --data-dir "$place/data" >"$place/said" 2>"$place/log" &
  server_pid=$!
  local waited=0
  until url=$(sed -n 's/^listening on //p' "$place/said") && [ -n "$url" ]; do
    if ! kill -0 "$server_pid" 2>/dev/null || [ $((waited += 1)) -gt 3000 ]; then
      echo "the server does not come up:" >&2
      cat "$place/said" "$place/log" >&2
      exit 1
    fi
    sleep 0.1
  done
}

# kill -9, and wait until it is gone.
kill_server() {
  if [ -n "$server_pid" ]; then
    kill -9 "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
  fi
}

# Stops it in order; fails if that is not clean.
stop_server() {
  kill -TERM "$server_pid"
  wait "$server_pid"
  server_pid=
}
