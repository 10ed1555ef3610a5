#!/usr/bin/env bash
# Prints the Secrets of an installation, with new random values:
#
#   deploy/kubernetes/secrets.sh | kubectl create --filename=-
#
# `create`, unlike `apply`, refuses to overwrite a Secret, and keeps no second copy in an annotation. With External Secrets or a
# similar operator, make Secrets of the same names and keys instead. docs/KUBERNETES.md says how to change them later.

set -euo pipefail

random_hex() { # BYTES
    head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

main() {
    local postgres rabbitmq
    postgres=$(random_hex 24)
    rabbitmq=$(random_hex 24)
    cat <<SECRETS
apiVersion: v1
kind: Secret
metadata:
  name: postgres-app
  namespace: hamro
  # Its operator applies a changed password at once.
  labels: { cnpg.io/reload: "true" }
type: kubernetes.io/basic-auth
stringData:
  username: hamro_app
  password: "$postgres"
---
# RabbitMQ reads default_user.conf; its operator names the others in the status of the cluster.
apiVersion: v1
kind: Secret
metadata:
  name: rabbitmq-user
  namespace: hamro
type: Opaque
stringData:
  default_user.conf: |
    default_user = hamro
    default_pass = $rabbitmq
  username: hamro
  password: "$rabbitmq"
  host: rabbitmq.hamro.svc
  port: "5672"
  provider: rabbitmq
  type: rabbitmq
---
apiVersion: v1
kind: Secret
metadata:
  name: hamro
  namespace: hamro
type: Opaque
stringData:
  ticket-keys: "$(random_hex 32)"
  admin-tokens: admin=$(random_hex 24)
  log-key: "$(random_hex 32)"
SECRETS
}

main
