"""Checks the manifests in deploy/kubernetes without a cluster.

    python check.py OVERLAY.yaml…      each as `kubectl kustomize deploy/kubernetes/overlays/OVERLAY` prints it

What only an API server can check, docs/KUBERNETES.md says.
"""

import sys
from pathlib import Path

import installation
import network
import programs
import project
import schemas
from manifests import Overlay


def problems(overlay):
    """Everything that is wrong with an overlay. The other checks rely on the schemas."""
    found = [
        f"{thing['kind']} {thing['metadata']['name']}: {problem}"
        for thing in overlay.things
        for problem in schemas.problems(thing)
    ]
    if found:
        return found
    return [problem for part in (programs, installation, network) for problem in part.problems(overlay)]


def main(paths):
    """Prints all problems, and returns the exit status."""
    found = []
    for path in map(Path, paths):
        overlay = Overlay(path.stem, path.read_text())
        found += [f"overlays/{overlay.name}: {problem}" for problem in problems(overlay)]
        print(f"overlays/{overlay.name}: {len(overlay.things)} objects")
    for name, data in project.secrets().items():
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        found += [f"secrets.sh: {name}: {problem}" for problem in schemas.problems(secret)]
    print(*found, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
