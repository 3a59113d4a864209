#!/usr/bin/env bash
# Real Kafka, PostgreSQL and Redis on this machine: services.sh fetch|up|down|clean
# `up` writes .services/env, which points a pipeline at them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

up() {
  for s in kafka postgres redis; do "$here/$s.sh" start; done
  cat >"$home/env" <<END
export KAFKA_BROKERS=127.0.0.1:$kafka_port
export KAFKA_SASL_BROKERS=127.0.0.1:$kafka_sasl_port KAFKA_USER=$kafka_user KAFKA_PASSWORD=$kafka_password
export KAFKA_TLS_BROKERS=127.0.0.1:$kafka_tls_port KAFKA_CA_FILE=$kafka_certs/ca.pem
export KAFKA_CLIENT_CERT=$kafka_certs/client.pem KAFKA_CLIENT_KEY=$kafka_certs/client-key.pem
export DATABASE_URL='postgres://millrace:millrace@127.0.0.1:$postgres_port/postgres?sslmode=disable'
export REDIS_URL=redis://127.0.0.1:$redis_port/0
END
  say "ready; to use them: . .services/env"
}

fetch() { for s in kafka postgres redis; do "$here/$s.sh" fetch; done; } # install, and start nothing

down() { for s in kafka postgres redis; do "$here/$s.sh" stop; done; }

case "${1:-}" in
  fetch) fetch ;;
  up) up ;;
  down) down ;;
  clean) down; rm -rf "$home" ;;
  *) die "usage: services.sh fetch|up|down|clean" ;;
esac
