"""Writes what the manifests repeat of other files: the alert rules, and the versions of the programs and servers.

python generated.py            writes it
python generated.py --check    fails if it is not current
"""

import re
import sys

import project

MANIFESTS = project.ROOT / "deploy/kubernetes"
RULES = project.ROOT / "deploy/prometheus/rules"

RULES_HEAD = """\
# Made of deploy/prometheus/rules by `make kubernetes`. Do not edit it here.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: hamro-concert
  labels: { app.kubernetes.io/component: monitoring }
spec:
  groups:
"""


def files():
    """The current text of all files in which something is repeated."""
    yield MANIFESTS / "components/monitoring/prometheus-rules.yaml", prometheus_rule()
    rabbitmq, postgres = (project.compose()["services"][name]["image"] for name in ("rabbitmq", "postgres"))
    yield with_version("base/rabbitmq.yaml", r"image: rabbitmq:(\S+)", rabbitmq.partition(":")[2])
    yield with_version("base/postgres.yaml", r"postgresql:([\d.]+)", re.search(r":([\d.]+)", postgres).group(1))
    for overlay in MANIFESTS.glob("overlays/*/kustomization.yaml"):
        yield with_version(overlay.relative_to(MANIFESTS), r"newTag: (\S+)", project.version())


def prometheus_rule():
    """The groups of all files with rules, indented once more."""
    groups = ""
    for path in sorted(RULES.glob("*.yml")):
        lines = path.read_text().splitlines()
        groups += "".join(f"  {line}\n" if line else "\n" for line in lines[lines.index("groups:") + 1 :])
    return RULES_HEAD + groups


def with_version(name, pattern, version):
    """A manifest with the version in place of what the group of the pattern matches."""
    path = MANIFESTS / name
    return path, re.sub(pattern, lambda match: match[0].replace(match[1], version), path.read_text())


def main():
    """Writes the files, or names those that are not current."""
    outdated = [(path, text) for path, text in files() if not path.exists() or path.read_text() != text]
    if "--check" not in sys.argv:
        for path, text in outdated:
            path.write_text(text)
    elif outdated:
        names = ", ".join(str(path.relative_to(project.ROOT)) for path, _ in outdated)
        sys.exit(f"Run `make kubernetes`: an alert rule or a version has changed, and not in {names}.")


if __name__ == "__main__":
    main()
