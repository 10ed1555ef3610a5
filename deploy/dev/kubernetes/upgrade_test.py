"""Runs deploy/kubernetes/upgrade.sh with a kubectl that only notes its arguments, and fails where a test wants it to."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import project

KUBECTL = """\
#!/bin/sh
shift # the namespace
echo "$*" >>"$CALLS"
case "$*" in
    *"$FAILING"*) exit 1 ;;
    "get job"*) echo True ;;
esac
"""


def upgrade(failing):
    """The calls of kubectl, and the exit status. A call that contains the text fails."""
    with tempfile.TemporaryDirectory() as directory:
        kubectl, calls = Path(directory) / "kubectl", Path(directory) / "calls"
        kubectl.write_text(KUBECTL)
        kubectl.chmod(0o755)
        environment = {"PATH": f"{directory}:{os.environ['PATH']}", "CALLS": str(calls), "FAILING": failing}
        command = [
            project.ROOT / "deploy/kubernetes/upgrade.sh",
            project.ROOT / "deploy/kubernetes/overlays/production",
        ]
        status = subprocess.run(command, env=environment, capture_output=True, check=False).returncode
        return calls.read_text().splitlines(), status


def changes(calls):
    """What was changed, in order."""
    return [call.rpartition("component")[2] for call in calls if call.startswith("apply")]


class Upgrade(unittest.TestCase):
    def test_the_schema_is_migrated_first_then_workers_then_apis(self):
        calls, status = upgrade("nothing")
        self.assertEqual(status, 0)
        self.assertEqual(changes(calls), [" notin (migration, worker, api)", "=migration", "=worker", "=api"])
        waits = [
            next(i for i, call in enumerate(calls) if text in call)
            for text in ("job/migration", "status", "deployment/api")
        ]
        applied = [calls.index(call) for call in calls if call.startswith("apply")]
        self.assertTrue(applied[1] < waits[0] < applied[2] < waits[1] < applied[3] < waits[2], calls)

    def test_nothing_more_is_changed_after_a_step_that_fails(self):
        for failing, changed in {
            "cluster.postgresql": 1,
            "rabbitmqcluster": 1,
            "job/migration": 2,
            "deployment/worker": 3,
            "deployment/api": 4,
        }.items():
            with self.subTest(failing):
                calls, status = upgrade(failing)
                self.assertEqual((len(changes(calls)), status != 0), (changed, True), calls)


if __name__ == "__main__":
    unittest.main()
