"""Makes the PrometheusRule of deploy/kubernetes of the rules in deploy/prometheus/rules, so that there is one place to edit them.

python rules.py            writes it
python rules.py --check    fails if it is not current
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy/prometheus/rules"
MANIFEST = ROOT / "deploy/kubernetes/components/monitoring/prometheus-rules.yaml"

HEAD = """\
# Made of deploy/prometheus/rules by `make kubernetes`. Do not edit it here.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: hamro-concert
  labels: { app.kubernetes.io/component: monitoring }
spec:
  groups:
"""


def groups(text):
    """The lines below `groups:` of a file with rules, indented once more."""
    lines = text.splitlines()
    body = lines[lines.index("groups:") + 1 :]
    return "".join(f"  {line}\n" if line else "\n" for line in body)


def manifest():
    """The whole manifest."""
    return HEAD + "".join(groups(path.read_text()) for path in sorted(RULES.glob("*.yml")))


if __name__ == "__main__":
    if "--check" not in sys.argv:
        MANIFEST.write_text(manifest())
    elif MANIFEST.read_text() != manifest():
        sys.exit(f"{MANIFEST.relative_to(ROOT)} is not made of the current rules. Run `make kubernetes`.")
