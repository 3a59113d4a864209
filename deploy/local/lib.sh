# Shared by the scripts here: where things are, and how to start and stop them.
# Everything lives in .services below the repository; nothing else is touched.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/deploy/local
home=${SERVICES_DIR:-$root/.services}
kafka_port=${KAFKA_PORT:-19092}
kafka_sasl_port=$((kafka_port + 2))
kafka_tls_port=$((kafka_port + 3))
kafka_certs=$home/kafka-certs
kafka_user=millrace
kafka_password=millrace-secret
postgres_port=${POSTGRES_PORT:-15432}
redis_port=${REDIS_PORT:-16379}

say() { printf '%s\n' "services: $*"; }
die() { say "$*" >&2; exit 1; }

# install PROGRAM PACKAGE: bring a program by apt-get if it is not there.
install() {
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || die "$1 is missing; install it (Debian: apt-get install $2)"
  say "installing $2"
  [ -n "${updated:-}" ] || apt-get update -qq
  updated=1
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
}

# as_postgres COMMAND...: Postgres refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

pg_bin() { # the newest installed version
  local newest
  newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
  [ -n "$newest" ] || newest=$(dirname "$(command -v pg_ctl 2>/dev/null)" 2>/dev/null) || true
  printf '%s' "$newest"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
  local seconds=$1 what=$2 i
  shift 2
  for ((i = 0; i < seconds * 5; i++)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  die "$what did not come up within $seconds s; see $home/*.log"
}

open_port() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

alive() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
