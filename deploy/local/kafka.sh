#!/usr/bin/env bash
# A real Apache Kafka (KRaft, one node) without Docker: kafka.sh fetch|start|stop|kill
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

certificates() {
  install openssl openssl
  "$here/certs.sh" "$kafka_certs"
}

configure() {
  local controller=$((kafka_port + 1))
  cat >"$home/kafka.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller,SASL_SSL://127.0.0.1:$kafka_sasl_port,SSL://127.0.0.1:$kafka_tls_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port,SASL_SSL://127.0.0.1:$kafka_sasl_port,SSL://127.0.0.1:$kafka_tls_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
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
ssl.keystore.type=PEM
ssl.keystore.location=$kafka_certs/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$kafka_certs/ca.pem
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$kafka_user="$kafka_password";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
END
  [ -d "$home/kafka-data" ] || format
}

# format makes the data directory, with the logins that the cluster itself keeps.
format() {
  local user="name=$kafka_user,password=$kafka_password"
  java -cp "$home/kafka-lib/*" kafka.tools.StorageTool format -c "$home/kafka.properties" \
    -t "$(cat /proc/sys/kernel/random/uuid | tr -d - | cut -c1-22)" \
    --add-scram "SCRAM-SHA-256=[$user]" --add-scram "SCRAM-SHA-512=[$user]" >"$home/kafka.log" 2>&1 ||
    die "Kafka's data directory could not be made; see $home/kafka.log"
  touch "$home/kafka-data/.users"
}

# users adds the logins to a data directory that was made before they were.
users() {
  [ -f "$home/kafka-data/.users" ] && return
  local mechanism
  for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
    java -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$home/kafka-lib/*" kafka.admin.ConfigCommand \
      --bootstrap-server "127.0.0.1:$kafka_port" --alter --entity-type users --entity-name "$kafka_user" \
      --add-config "$mechanism=[password=$kafka_password]" >/dev/null
  done
  touch "$home/kafka-data/.users"
}

start() {
  alive "$pid" && open_port "$kafka_sasl_port" && return
  stop TERM # one that was configured before there were logins
  mkdir -p "$home"
  jars
  certificates
  configure
  nohup java -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$home/kafka-lib/*" \
    kafka.Kafka "$home/kafka.properties" >"$home/kafka.log" 2>&1 </dev/null &
  echo $! >"$pid"
  wait_for 60 Kafka open_port "$kafka_port"
  users
  say "Kafka at 127.0.0.1:$kafka_port, with login at $kafka_sasl_port, with client certificates at $kafka_tls_port"
}

# stop SIGNAL
stop() {
  alive "$pid" || return 0
  kill -"$1" "$(cat "$pid")"
  wait_for 30 "the end of Kafka" bash -c "! kill -0 $(cat "$pid")"
  rm -f "$pid"
}

case "${1:-}" in
  fetch) jars ;;
  start) start ;;
  stop) stop TERM ;;
  kill) stop KILL ;;
  *) die "usage: kafka.sh fetch|start|stop|kill" ;;
esac
