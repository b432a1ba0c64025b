#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a long link costs gantry-sync: one route from a cluster to another, whose broker is
behind a proxy that is 0, 20 and 50 ms late in each direction.

  benchmarks/sync.py --build build/release      three rounds, medians, shares of no delay
  benchmarks/sync.py --link 0                   a link without a limit: what the machine can
  benchmarks/sync.py --smoke                    a few messages each: does every case work?

The source has all messages before a run begins; each run has a fresh target. The rate is that of
the messages behind the first tenth, when the window is open. Delays take turns, so that what the
machine does meanwhile falls on all of them. Prints a table, and everything as one line of JSON.
Fails when a copy is missing.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from replication import DelayProxy, free_port
from shapes import Daemon, settings

FAR = "127.0.2.1"  # where the target's broker says it is: there the proxy listens
ROUND_TRIPS = [0, 40, 100]  # ms
COPIED = re.compile(r"^gantry_sync_copied_messages_total\{[^}]*\} (\S+)$", re.M)
ROUTES = """
[clusters.near]
nameservers = ["127.0.0.1:{near}"]
[clusters.far]
nameservers = ["127.0.0.1:{far}"]
[[routes]]
name = "{name}"
from = "near"
to = "far"
topics = ["bench"]
"""


class Side:
    """A nameserver and a broker with a fresh store."""

    def __init__(self, args, name, host="127.0.0.1"):
        self.directory = tempfile.mkdtemp(prefix=f"gantry-sync-{name}-", dir=args.directory)
        self.binaries = os.path.join(args.build, "bin")
        self.daemons = []
        self.nameserver = self.start("gantry-nameserver", ["listen.port=0"])
        self.broker = self.start("gantry-broker", [
            f"listen.port={free_port()}", f"broker.advertise_host={host}", f"broker.name={name}",
            f"nameserver.addresses=127.0.0.1:{self.nameserver.port}",
            f"store.directory={self.directory}/store", *args.set])

    def start(self, program, pairs):
        """Starts a daemon."""
        pairs = ["http.port=0", "listen.address=127.0.0.1", *pairs]
        self.daemons.append(Daemon([os.path.join(self.binaries, program), *settings(pairs)],
                                   os.path.join(self.directory, program + ".log")))
        return self.daemons[-1]

    def close(self):
        """Ends everything and removes it."""
        for daemon in reversed(self.daemons):
            if daemon.process.poll() is None:
                daemon.stop()
        shutil.rmtree(self.directory)


def fill(args, source):
    """Puts the messages into the source."""
    argv = [os.path.join(args.build, "bin", "gantry-bench"), "produce", "--topic", "bench",
            "--queues", str(args.queues), "--messages", str(args.messages), "--size",
            str(args.size), "--batch", "32768", "-n", f"127.0.0.1:{source.nameserver.port}"]
    subprocess.run(argv, check=True, capture_output=True, timeout=900)


def copied(http):
    """Messages that the daemon says are stored at the target."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=10) as answer:
        found = COPIED.search(answer.read().decode())
    return float(found.group(1)) if found else 0.0


def watch(args, daemon):
    """Messages a second behind the first tenth, as the daemon's counter goes by."""
    begin = None
    limit = time.monotonic() + args.limit
    while time.monotonic() < limit:
        now, count = time.monotonic(), copied(daemon.http)
        if count >= args.messages:
            if begin is None or now <= begin[0]:
                raise RuntimeError("too few messages to measure: --messages")
            return (args.messages - begin[1]) / (now - begin[0])
        if begin is None and count >= args.messages / 10:
            begin = (now, count)
        time.sleep(0.01)
    raise RuntimeError(f"{count:.0f} of {args.messages} messages copied in {args.limit} s")


def measure(args, source, round_trip, name):
    """The rate over a link with that round trip, to a fresh target."""
    target = Side(args, "far", FAR)
    proxy = DelayProxy(target.broker.port, round_trip / 2, args.link * 1e6,
                       (FAR, target.broker.port))
    try:
        routes = os.path.join(target.directory, "routes.toml")
        with open(routes, "w", encoding="ascii") as file:
            file.write(ROUTES.format(near=source.nameserver.port, far=target.nameserver.port,
                                     name=name))
        sync = Daemon([os.path.join(args.build, "bin", "gantry-sync"),
                       *settings([f"routes.file={routes}", "http.port=0"])],
                      os.path.join(target.directory, "gantry-sync.log"))
        try:
            return watch(args, sync)
        finally:
            sync.stop()
    finally:
        proxy.close()
        target.close()


def print_table(rates, size):
    """What people read."""
    medians = {round_trip: statistics.median(values) for round_trip, values in rates.items()}
    print("| round trip | messages/s | MB/s | of no delay | spread |")
    print("|---|---|---|---|---|")
    for round_trip, rate in medians.items():
        spread = 100 * (max(rates[round_trip]) - min(rates[round_trip])) / rate
        print(f"| {round_trip} ms | {rate / 1e3:.1f} k | {rate * size / 1e6:.0f} "
              f"| {100 * rate / medians[ROUND_TRIPS[0]]:.0f} % | {spread:.0f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--directory", default=None, help="where the stores go")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=1024, help="bytes of a body")
    parser.add_argument("--queues", type=int, default=4)
    parser.add_argument("--link", type=float, default=100, help="MB/s it carries; 0: no limit")
    parser.add_argument("--limit", type=float, default=600, help="seconds of a run, at most")
    parser.add_argument("--set", action="append", default=[], help="broker setting key=value")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.messages, args.link = 1, 30_000, 10
    rates = {round_trip: [] for round_trip in ROUND_TRIPS}
    source = Side(args, "near")
    try:
        fill(args, source)
        for number in range(args.rounds):
            for round_trip in ROUND_TRIPS:
                rates[round_trip].append(
                    measure(args, source, round_trip, f"r{round_trip}-{number}"))
    finally:
        source.close()
    print_table(rates, args.size)
    print(json.dumps({"rates": rates, "size": args.size, "messages": args.messages,
                      "link_mb": args.link}))


if __name__ == "__main__":
    sys.exit(main())
