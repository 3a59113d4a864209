#!/usr/bin/env bash
# A real Apache Kafka (KRaft, one node) without Docker: kafka.sh start|stop|kill
set -euo pipefail
. "$(dirname "$0")/lib.sh"
pid=$home/kafka.pid

jars() {
  [ -f "$home/kafka-lib/.complete" ] && return
  install java openjdk-17-jre-headless
  install mvn maven
  say "fetching the Kafka jars"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/kafka-lib"
  touch "$home/kafka-lib/.complete"
}

configure() {
  local controller=$((kafka_port + 1))
  cat >"$home/kafka.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$home/kafka-data
num.partitions=3
offsets.topic.replication.factor=1
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=10
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
END
  [ -d "$home/kafka-data" ] || java -cp "$home/kafka-lib/*" kafka.tools.StorageTool format \
    -t "$(cat /proc/sys/kernel/random/uuid | tr -d - | cut -c1-22)" -c "$home/kafka.properties" >/dev/null 2>&1
}

start() {
  alive "$pid" && return
  mkdir -p "$home"
  jars
  configure
  nohup java -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$home/kafka-lib/*" \
    kafka.Kafka "$home/kafka.properties" >"$home/kafka.log" 2>&1 </dev/null &
  echo $! >"$pid"
  wait_for 60 Kafka open_port "$kafka_port"
  say "Kafka at 127.0.0.1:$kafka_port"
}

# stop SIGNAL
stop() {
  alive "$pid" || return 0
  kill -"$1" "$(cat "$pid")"
  wait_for 30 "the end of Kafka" bash -c "! kill -0 $(cat "$pid")"
  rm -f "$pid"
}

case "${1:-}" in
  start) start ;;
  stop) stop TERM ;;
  kill) stop KILL ;;
  *) die "usage: kafka.sh start|stop|kill" ;;
esac
