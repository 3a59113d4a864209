#!/usr/bin/env bash
# Certificates for the encrypted listeners of the local Kafka, made once, valid
# for ten years and for this machine only: certs.sh DIRECTORY
#   ca.pem                        the authority that clients must trust
#   broker.pem                    the broker's key and certificate
#   client.pem, client-key.pem    for a client that shows a certificate
set -euo pipefail
dir=$1
[ -f "$dir/.complete" ] && exit
mkdir -p "$dir"

# issue NAME EXTENSIONS: a key and a certificate that the authority signed.
issue() {
  openssl req -newkey rsa:2048 -nodes -subj "/CN=millrace-$1" -keyout "$dir/$1-key.pem" -out "$dir/$1.csr"
  openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca-key.pem" -days 3650 \
    -extfile <(printf '%s\n' "$2") -out "$dir/$1.pem"
}

{
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=millrace local authority" \
    -keyout "$dir/ca-key.pem" -out "$dir/ca.pem"
  issue server "subjectAltName=DNS:localhost,IP:127.0.0.1"
  issue client "extendedKeyUsage=clientAuth"
} 2>"$dir/openssl.log"
cat "$dir/server-key.pem" "$dir/server.pem" >"$dir/broker.pem"
touch "$dir/.complete"
