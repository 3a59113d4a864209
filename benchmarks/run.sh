#!/usr/bin/env bash
# Builds everything, runs benchmarks, and keeps what they say: run.sh [name…]
#
#   names     generate audit http tail latency soak start offered swap engine content; none: all
#   N=5       rounds of each side
#   IN_FLIGHT=4,16   batches in flight, for generate
#   EVENTS=   events of a round, RATES=1000,50000, FOR=30s: instead of each benchmark's own
#
# tail has kcat and rsyslog (with rsyslog-kafka) as opponents where they are installed.
#
# Needs the real services for generate, audit, http, tail (Kafka only) and latency: make services-up.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${KAFKA_BROKERS:-}" ] || ! [ -f .services/env ] || . .services/env

names=("$@")
[ ${#names[@]} -gt 0 ] || names=(engine content offered swap start generate audit http tail latency soak)
stamp=benchmarks/results/$(date -u +%Y-%m-%dT%H%M)
mkdir -p benchmarks/results
go build -o bin/engine ./engine/cmd/engine
go build -o bin/bare ./benchmarks/bare
go build -o bin/sidebyside ./benchmarks/sidebyside
go build -o bin/httpload ./benchmarks/httpload

sidebyside() {
  bin/sidebyside -json "$stamp.jsonl" -n "${N:-5}" ${EVENTS:+-events "$EVENTS"} ${RATES:+-rates "$RATES"} ${FOR:+-for "$FOR"} \
    ${IN_FLIGHT:+-in-flight "$IN_FLIGHT"} "$@"
}

# gobench PACKAGE PATTERN [ARG…]: Go benchmarks, as benchstat reads them
gobench() {
  local package=$1 pattern=$2
  shift 2
  go test -run '^$' -bench "$pattern" -benchmem -count "${N:-5}" "$@" "$package"
}

{
  sidebyside # the machine
  for name in "${names[@]}"; do
    case $name in
      engine) printf '\n== engine: one op is one batch\n' && gobench ./benchmarks '^BenchmarkEngine$' ;;
      content) printf '\n== content: one op is one event, one core\n' && gobench ./stages/source/generator '^BenchmarkRead$/^threads=1$' -cpu 1 ;;
      *) sidebyside -quiet "$name" ;;
    esac
  done
} 2>&1 | tee "$stamp.txt"
