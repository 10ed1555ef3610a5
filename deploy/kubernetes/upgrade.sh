#!/usr/bin/env bash
# Installs or upgrades what an overlay describes, in the order that loses nothing: the servers and the schema first, then the
# workers, then the apis (docs/RUNBOOK.md, "Deploy order"). Stops at the first step that fails; what runs then goes on.
#
#   deploy/kubernetes/upgrade.sh deploy/kubernetes/overlays/production

set -euo pipefail

readonly NAMESPACE=${NAMESPACE:-hamro} TIMEOUT=${TIMEOUT:-15m}

main() {
    if [[ $# != 1 || ! -f $1/kustomization.yaml ]]; then
        echo "usage: $0 OVERLAY, the directory of an overlay" >&2
        exit 2
    fi
    step "Servers, network, monitoring" "$1" 'app.kubernetes.io/component notin (migration, worker, api)'
    kubectl wait --for=condition=Ready --timeout="$TIMEOUT" cluster.postgresql.cnpg.io/postgres
    kubectl wait --for=condition=AllReplicasReady --timeout="$TIMEOUT" rabbitmqcluster.rabbitmq.com/rabbitmq
    # A job cannot be changed.
    kubectl delete job migration --ignore-not-found
    step "Schema" "$1" app.kubernetes.io/component=migration
    wait_for_migration
    step "Workers" "$1" app.kubernetes.io/component=worker
    kubectl rollout status --timeout="$TIMEOUT" deployment/worker
    step "Apis" "$1" app.kubernetes.io/component=api
    kubectl rollout status --timeout="$TIMEOUT" deployment/api
}

# kustomize has no order, so each step applies the objects of some components.
step() { # TITLE OVERLAY SELECTOR
    echo "==> $1"
    kubectl apply --kustomize="$2" --selector="$3"
}

# As long as it takes: the time grows with the tables.
wait_for_migration() {
    until kubectl wait --for=condition=Complete --timeout=10s job/migration; do
        if [[ $(kubectl get job migration --output=jsonpath='{.status.conditions[?(@.type=="Failed")].status}') == True ]]; then
            echo "The migration failed, and nothing else was changed: kubectl --namespace=$NAMESPACE logs job/migration" >&2
            exit 1
        fi
    done
}

kubectl() {
    command kubectl --namespace="$NAMESPACE" "$@"
}

main "$@"
