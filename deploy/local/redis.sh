#!/usr/bin/env bash
# A real Redis without Docker, nothing kept on disk: redis.sh fetch|start|stop|kill
set -euo pipefail
. "$(dirname "$0")/lib.sh"
pid=$home/redis.pid

fetch() { install redis-server redis-server; }

start() {
  alive "$pid" && return
  fetch
  mkdir -p "$home"
  nohup redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no \
    --dir "$home" >"$home/redis.log" 2>&1 </dev/null &
  echo $! >"$pid"
  wait_for 20 Redis open_port "$redis_port"
  say "Redis at 127.0.0.1:$redis_port"
}

stop() { # SIGNAL
  alive "$pid" || return 0
  kill -"$1" "$(cat "$pid")"
  wait_for 20 "the end of Redis" bash -c "! kill -0 $(cat "$pid")"
  rm -f "$pid"
}

case "${1:-}" in
  fetch) fetch ;;
  start) start ;;
  stop) stop TERM ;;
  kill) stop KILL ;;
  *) die "usage: redis.sh fetch|start|stop|kill" ;;
esac
