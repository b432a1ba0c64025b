#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints "N passed, N failed" for JUnit files that ctest wrote, and before it what failed, with
the end of its output.

A file that is missing or cannot be read counts as one failure: a run that left no result did not
pass. So does a test that did not run, unless it says why ("not run: no right to mount") and
tests/may_not_run.txt lists it: these are printed, and count as neither. Exit status 1 if anything
failed.
"""

import os
import re
import sys
import xml.etree.ElementTree as ElementTree


MAY_NOT_RUN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                           "tests/may_not_run.txt")


FAILED_SHOWN = 10
LINES_SHOWN = 150


def excused_names():
    """What tests/may_not_run.txt lists."""
    with open(MAY_NOT_RUN, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return {line for line in lines if line and not line.startswith("#")}


def reason_not_run(case):
    """Why a case did not run, in its own words; None when it did, or failed as well."""
    output = case.findtext("system-out") or ""
    told = re.search(r"^not run: (.*)$", output, re.MULTILINE)
    return told.group(1) if told and "Status: FAILURE" not in output else None


def show_failed(cases):
    """The first few of what failed, and the end of what each printed."""
    for case in cases[:FAILED_SHOWN]:
        print(f"== failed: {case.get('name')}")
        lines = (case.findtext("system-out") or "").splitlines()
        print("\n".join(lines[-LINES_SHOWN:]))
    for case in cases[FAILED_SHOWN:]:
        print(f"== failed too: {case.get('name')}")


def counts(path):
    """(passed, failed) of one file; prints what failed, and what did not run and need not."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 0, 1
    excused = excused_names()
    passed = 0
    failed = []
    for case in cases:
        reason = reason_not_run(case)
        if case.get("status") == "run" and reason is None:
            passed += 1
        elif reason is not None and case.get("name") in excused:
            print(f"not run: {case.get('name')}: {reason}")
        else:
            failed.append(case)
    show_failed(failed)
    return passed, len(failed)


def main(paths):
    totals = [counts(path) for path in paths]
    passed = sum(total[0] for total in totals)
    failed = sum(total[1] for total in totals)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
