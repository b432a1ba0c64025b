#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what an empty slave that catches up costs the producers: a master with a full log, load
on it all the time, then a slave with an empty store joins.

  benchmarks/catch_up.py --build build/release        10 GiB, producers as fast as they are answered
  benchmarks/catch_up.py --gib 1 --rate 50000         less of it, so many messages a second
  benchmarks/catch_up.py --smoke                      a few messages: does it work?

The load comes in pieces, each with a p99 of its own: some before the slave starts, all while it
catches up, some after it is in the in-sync set (from then on each send waits for both copies).
Prints a table, and everything as one line of JSON. Fails when a send does, or when the slave is not
in sync within --limit seconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from replication import Case, Group

CASE = Case("catch-up", "an empty slave joins", in_sync_min=1)


class Run:
    """One group, and the pieces of its load."""

    def __init__(self, args):
        self.args = args
        self.group = Group(args, CASE, is_late=True)
        self.pieces = {"before": [], "during": [], "after": []}

    def fill(self):
        """Until the log has --gib."""
        frame_bytes = 4096
        count = max(int(self.args.gib * (1 << 30)) // (frame_bytes + 100), 1_000)
        report = self.group.bench(["produce", "--batch", "32768", "--producers", "4", "--topic",
                                   "full", "--size", str(frame_bytes), "--messages", str(count)])
        if report is None or not report["ok"]:
            raise RuntimeError(f"the log is not filled: {self.group.last_error}")

    def load(self, when):
        """A piece of load."""
        args = self.args
        report = self.group.bench(
            ["produce", "--batch", "32768", "--producers", str(args.producers), "--size",
             str(args.size), "--in-flight", str(args.in_flight), "--rate", str(args.rate),
             "--messages", str(args.messages)])
        if report is None or not report["ok"]:
            raise RuntimeError(f"{when}: {self.group.last_error}")
        self.pieces[when].append({"rate": report["messages_per_second"],
                                  "p50": report["latency_us"]["p50"],
                                  "p99": report["latency_us"]["p99"]})

    def replica(self):
        """What the master says of the slave; None before it knows it."""
        argv = [os.path.join(self.group.binaries, "gantry"), "broker", "replicas", "replicated",
                "-o", "json", "-n", f"127.0.0.1:{self.group.nameserver.port}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        found = [one for one in json.loads(done.stdout or "[]") if one.get("member") == 2]
        return found[0] if found else None

    def measure(self):
        """Seconds the slave took to be in sync."""
        self.group.wait_until_in_sync()
        self.fill()
        for _ in range(self.args.pieces):
            self.load("before")
        began = time.monotonic()
        self.group.start_slave()
        while True:
            self.load("during")
            replica = self.replica()
            if replica and replica["in_sync"]:
                break
            if time.monotonic() - began > self.args.limit:
                raise RuntimeError(f"not in sync after {self.args.limit} s: {replica}")
        took = time.monotonic() - began
        for _ in range(self.args.pieces):
            self.load("after")
        return took


def print_table(pieces):
    """What people read."""
    print("| slave | pieces | messages/s | p50 us | p99 us | worst p99 us |")
    print("|---|---|---|---|---|---|")
    for when, all_of in pieces.items():
        median = {key: statistics.median(one[key] for one in all_of)
                  for key in ("rate", "p50", "p99")}
        worst = max(one["p99"] for one in all_of)
        print(f"| {when} | {len(all_of)} | {median['rate'] / 1e3:.0f} k | {median['p50']:,.0f} "
              f"| {median['p99']:,.0f} | {worst:,.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--directory", default=None, help="where the stores go")
    parser.add_argument("--gib", type=float, default=10, help="of the master's log")
    parser.add_argument("--rate", type=int, default=0, help="messages a second; 0: no limit")
    parser.add_argument("--messages", type=int, default=500_000, help="of a piece")
    parser.add_argument("--pieces", type=int, default=5, help="before and after")
    parser.add_argument("--producers", type=int, default=2)
    parser.add_argument("--size", type=int, default=256, help="bytes of a body")
    parser.add_argument("--in-flight", type=int, default=64, help="frames of each producer")
    parser.add_argument("--limit", type=int, default=1_800, help="seconds to be in sync")
    parser.add_argument("--set", action="append", default=[], help="broker setting key=value")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.gib, args.messages, args.pieces = 0.01, 2_000, 1
    run = Run(args)
    try:
        took = run.measure()
    finally:
        run.group.close()
    print_table(run.pieces)
    before, during = (statistics.median(one["p99"] for one in run.pieces[when])
                      for when in ("before", "during"))
    print(f"\nin sync after {took:.1f} s; p99 meanwhile was {during / before:.2f} of before")
    print(json.dumps({"in_sync_s": took, "gib": args.gib, "pieces": run.pieces}))


if __name__ == "__main__":
    sys.exit(main())
