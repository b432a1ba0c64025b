#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of docs/guide/cross-idc.md and looks at what they print.

Run: tests/operations/cross_idc_test.py DOCUMENT BIN_FOLDER
"""

import sys

from document_run import check_document

BERLIN = ["one", "two", "three"]
PARIS = ["quatre", "cinq"]


def bodies(lines):
    """What is consumed: lines of one word."""
    return sorted(line for line in lines if len(line.split()) == 1)


def counts(lines):
    """How many messages each produce and consume says it had."""
    return [line.split()[0] for line in lines if " messages, " in line]


def problems(run):
    found = []

    def expect(what, is_so, printed):
        if not is_so:
            found.append(f"{what}; printed:\n" + "\n".join(printed))

    there = run.output_of("--count 3 ").splitlines()
    expect("what is sent at berlin is consumed at paris", bodies(there) == sorted(BERLIN), there)
    back = run.output_of("--count 5 ").splitlines()
    expect("and the other way", bodies(back) == sorted(BERLIN + PARIS), back)
    rows = [line.split() for line in back if "/berlin-0/" in line]
    running = [row for row in rows if row[3] == "running" and row[4] == "0"]
    expect("both ways run, with nothing left to copy", len(running) == 8, back)
    moved = run.output_of("--group billing --apply").splitlines()
    expect("the group reads 500 at berlin and the rest at paris",
           counts(moved)[1:2] == ["500"] and counts(moved)[-1:] == ["505"], moved)
    expect("it misses none of 1005, and gets none twice", moved[-2:] == ["1005", "0"], moved)
    return found


if __name__ == "__main__":
    sys.exit(check_document(sys.argv[1:], "/tmp/gantry-idc", problems))
