#!/usr/bin/env bash
# A real PostgreSQL without Docker, in a cluster of its own: postgres.sh fetch|start|stop|kill
set -euo pipefail
. "$(dirname "$0")/lib.sh"
data=$home/postgres

fetch() { [ -n "$(pg_bin)" ] || install pg_ctl postgresql; }

start() {
  fetch
  mkdir -p "$data"
  if [ "$(id -u)" = 0 ]; then chown postgres "$data"; fi
  chmod 711 "$home"
  if [ ! -f "$data/db/PG_VERSION" ]; then
    printf millrace >"$data/password"
    as_postgres "$(pg_bin)/initdb" -D "$data/db" -U millrace --pwfile="$data/password" -A scram-sha-256 >"$home/postgres.log"
  fi
  as_postgres "$(pg_bin)/pg_ctl" -D "$data/db" status >/dev/null && return
  as_postgres "$(pg_bin)/pg_ctl" -D "$data/db" -w -l "$data/server.log" \
    -o "-p $postgres_port -h 127.0.0.1 -k $data -c max_connections=200" start >>"$home/postgres.log" ||
    die "PostgreSQL did not come up; see $data/server.log"
  say "PostgreSQL at 127.0.0.1:$postgres_port"
}

stop() { # MODE
  [ -d "$data/db" ] || return 0
  as_postgres "$(pg_bin)/pg_ctl" -D "$data/db" -w -m "$1" stop >>"$home/postgres.log" 2>&1 || true
}

case "${1:-}" in
  fetch) fetch ;;
  start) start ;;
  stop) stop fast ;;
  kill) stop immediate ;;
  *) die "usage: postgres.sh fetch|start|stop|kill" ;;
esac
