#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of docs/guide/cross-idc.md and looks at what they print.

Run: tests/operations/cross_idc_test.py DOCUMENT BIN_FOLDER
"""

import sys

from document_run import check_document

BERLIN = ["one", "two", "three"]
PARIS = ["quatre", "cinq"]
BILLS = [str(i) for i in range(1, 1001)]


def lines_of(run, command):
    """What the block prints that has this command, without what goes to standard error."""
    lines = run.output_of(command).split("\n")
    return [line for line in lines if line and " messages, " not in line]


def problems(run):
    found = []

    def expect(what, is_so, printed):
        if not is_so:
            found.append(f"{what}; printed:\n" + "\n".join(printed))

    there = lines_of(run, "--count 3 ")
    expect("what was sent at berlin is consumed at paris", sorted(there) == sorted(BERLIN), there)
    back = lines_of(run, "--count 5 ")
    expect("what was sent at paris is consumed at berlin", set(back) >= set(BERLIN + PARIS), back)
    status = [line.split() for line in lines_of(run, "gantry-sync status") if "/berlin-0/" in line]
    running = [row for row in status if row[3] == "running" and row[4] == "0"]
    expect("both ways run, with nothing left to copy", len(running) == 8, map(" ".join, status))
    bills = lines_of(run, "--group billing --from earliest")
    expect("500 are read at berlin", bills[0] == "500", bills)
    expect("the group misses none of 1005, and gets none twice", bills[-2:] == ["1005", "0"], bills)
    return found


if __name__ == "__main__":
    sys.exit(check_document(sys.argv[1:], "/tmp/gantry-idc", problems))
