#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints "N passed, N failed" for JUnit files that ctest wrote.

A file that is missing or cannot be read counts as one failure: a run that left no result did not
pass. So does a test that did not run. Exit status 1 if anything failed.
"""

import sys
import xml.etree.ElementTree as ElementTree


def counts(path):
    """(passed, failed) of one file."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 0, 1
    passed = sum(1 for case in cases if case.get("status") == "run")
    return passed, len(cases) - passed


def main(paths):
    totals = [counts(path) for path in paths]
    passed = sum(total[0] for total in totals)
    failed = sum(total[1] for total in totals)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
