"""Breaks the manifests of overlays/production one way after the other, and expects the checks to name what is broken.

python check_test.py PRODUCTION.yaml      as `kubectl kustomize deploy/kubernetes/overlays/production` prints it
"""

import sys
import unittest
from copy import deepcopy
from pathlib import Path

import check
from manifests import Overlay
from mistakes import MISTAKES

PRODUCTION = Overlay("production", Path(sys.argv.pop()).read_text())


class Checks(unittest.TestCase):
    def test_the_manifests_have_no_problems(self):
        self.assertEqual(check.problems(PRODUCTION), [])

    def test_every_mistake_is_named(self):
        for name, (make, message) in MISTAKES.items():
            with self.subTest(name):
                overlay = deepcopy(PRODUCTION)
                make(overlay)
                self.assertIn(message, "\n".join(check.problems(overlay)))


if __name__ == "__main__":
    unittest.main()
