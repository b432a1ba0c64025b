#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of docs/operations/cluster.md and looks at what they print.

Run: tests/operations/cluster_test.py DOCUMENT BIN_FOLDER
"""

import re
import sys

from document_run import check_document

# What counting lines print, in their order: every message once, whoever was killed meanwhile.
COUNTS = ["2000", "3000", "200"]


def problems(run):
    found = []
    counts = re.findall(r"^(\d+)$", run.text, flags=re.MULTILINE)
    if counts != COUNTS:
        found.append(f"messages counted: {counts}, not {COUNTS}")
    if "would be lost" not in run.text:
        found.append("promote did not say what would be lost")
    return found


if __name__ == "__main__":
    sys.exit(check_document(sys.argv[1:], "/tmp/gantry-cluster", problems,
                            {"etcd": "etcd-server"}))
