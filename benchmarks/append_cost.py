#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what an append costs by part: the table of docs/benchmarks.md.

  benchmarks/append_cost.py --build build/release    nanoseconds and instructions of each part
  benchmarks/append_cost.py --no-instructions        without valgrind, which takes a minute

Time: median over --runs runs of append_bench. Instructions: counted by valgrind, whose processor
has no AVX-512.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys

# A copy by `rep movsb` is counted as an instruction a byte: copy long batches by vectors too.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1000000000"

# Part of append_bench, what it is, who pays it.
PARTS = [
    ("copy_alone", "memcpy of the record alone", "the least there is"),
    ("reserve", "reserve: clock, lock, both offsets", "every append"),
    ("check", "check: parse the record", "a record that comes stored"),
    ("tag", "tag: find it, hash it", "every message"),
    ("patch", "patch: offsets, store time, host", "a record that comes stored"),
    ("encode", "encode into the log, checksum included", "a stock client's message"),
    ("checksum", "of which the body's CRC-32", ""),
    ("unit", "consume queue unit", "every message"),
    ("key", "key index, one key", "a message with keys"),
    ("publish", "publish", "every append"),
    ("block_sum", "XXH3 of the block, after the sync", "the flusher's thread"),
    ("append_stored/1", "append of one stored record", "all of it"),
    ("append_stored/30", "append of 30 stored records, a message", "all of it"),
    ("append_stock", "append of a stock client's message", "all of it"),
]


def nanoseconds(program, part, runs):
    """The median time of one message, in ns."""
    out = subprocess.run(
        [program, f"--benchmark_filter=^{part}/iter", f"--benchmark_repetitions={runs}",
         "--benchmark_report_aggregates_only=true", "--benchmark_format=json"],
        check=True, capture_output=True, text=True).stdout
    rows = json.loads(out[out.index("{"):])["benchmarks"]
    return next(row["ns_each"] for row in rows if row.get("aggregate_name") == "median")


def instructions(program, part):
    """Instructions of one message: of what runs inside measure() of append_bench."""
    messages = 100_000
    out = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
         "--toggle-collect=*measure<*", program, f"--benchmark_filter=^{part}/iter"],
        env=dict(os.environ, GANTRY_BENCH_MESSAGES=str(messages), GLIBC_TUNABLES=TUNABLES),
        check=True, capture_output=True, text=True).stderr
    return int(re.search(r"Collected : (\d+)", out).group(1)) / messages


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--no-instructions", action="store_true")
    options = parser.parse_args()
    if options.runs < 2:
        parser.error(f"--runs {options.runs} < 2: there is no median of one")
    if not options.no_instructions and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed: install it, or give --no-instructions")
    program = os.path.join(options.build, "bin", "append_bench")
    print("| part | paid by | ns | instructions |\n|---|---|---|---|")
    for part, title, payer in PARTS:
        time = nanoseconds(program, part, options.runs)
        count = "" if options.no_instructions else f"{instructions(program, part):,.0f}"
        print(f"| {title} | {payer} | {time:.0f} | {count} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
