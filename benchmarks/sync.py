#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a long link costs gantry-sync: one route between two clusters, at the ends of
a link with round trips of 0, 40 and 100 ms.

  benchmarks/sync.py --build build/release      three rounds, medians, shares of no delay
  benchmarks/sync.py --namespaces               as root: packets are carried, 1 in 100 is lost too
  benchmarks/sync.py --link 0                   a link without a limit: what the machine can
  benchmarks/sync.py --smoke                    a few messages each: does every case work?

Without --namespaces the target's broker is behind a TCP proxy: late, but lossless. The source has
all messages before a run begins; each run has a fresh target. The rate is that of the messages
behind the first --open share, when the window is open. Links take turns, so that what the machine
does meanwhile falls on all of them. Prints a table, and everything as one line of JSON. Fails when
a copy is missing.
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

from long_link import LongLink
from replication import DelayProxy, free_port
from shapes import Daemon, settings

PROXY = "127.0.2.1"  # where a target's broker behind a proxy says it is
ROUND_TRIPS = [0, 40, 100]  # ms
LOSSES = [0, 0.01]
COPIED = re.compile(r"^gantry_sync_copied_messages_total\{[^}]*\} (\S+)$", re.M)
ROUTES = """
[clusters.near]
nameservers = ["{near}"]
[clusters.far]
nameservers = ["{far}"]
[[routes]]
name = "{name}"
from = "near"
to = "far"
topics = ["bench"]
parallelism = {parallelism}
"""


class Line:
    """What lies between the clusters, carried by a proxy or by network namespaces."""

    def __init__(self, args):
        self.rate = args.link * 1e6
        self.namespaces = LongLink(args.congestion) if args.namespaces else None
        self.proxy = None
        if self.namespaces:
            self.namespaces.enter()

    def cases(self):
        """Pairs of round trip in ms and share of lost packets."""
        losses = LOSSES if self.namespaces else LOSSES[:1]
        return [(round_trip, loss) for loss in losses for round_trip in ROUND_TRIPS]

    def far_side(self, args, round_trip, loss):
        """A fresh target at the other end."""
        if self.namespaces:
            self.namespaces.carry(round_trip / 1e3, self.rate or 1e12, loss)
            return Side(args, "far", LongLink.FAR, LongLink.FAR, self.namespaces.at_far)
        side = Side(args, "far", PROXY)
        self.proxy = DelayProxy(side.broker.port, round_trip / 2, self.rate,
                                (PROXY, side.broker.port))
        return side

    def close_case(self):
        """Between two cases."""
        if self.proxy:
            self.proxy.close()

    def close(self):
        """Nothing is left of it."""
        if self.namespaces:
            self.namespaces.close()


class Side:
    """A nameserver and a broker with a fresh store, that listen at one address and may say that
    they are at another."""

    def __init__(self, args, name, advertised="127.0.0.1", host="127.0.0.1", prefix=()):
        self.directory = tempfile.mkdtemp(prefix=f"gantry-sync-{name}-", dir=args.directory)
        self.binaries = os.path.join(args.build, "bin")
        self.daemons = []
        self.host = host
        self.prefix = prefix
        port = free_port()
        self.nameserver = self.start("gantry-nameserver", [f"listen.port={port}"])
        self.at = f"{host}:{port}"
        self.broker = self.start("gantry-broker", [
            f"listen.port={free_port()}", f"broker.advertise_host={advertised}",
            f"broker.name={name}", f"nameserver.addresses={self.at}",
            f"store.directory={self.directory}/store", *args.set])

    def start(self, program, pairs):
        """Starts a daemon."""
        pairs = ["http.port=0", f"listen.address={self.host}", *pairs]
        argv = [*self.prefix, os.path.join(self.binaries, program), *settings(pairs)]
        self.daemons.append(Daemon(argv, os.path.join(self.directory, program + ".log")))
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
            str(args.size), "--batch", "32768", "-n", source.at]
    subprocess.run(argv, check=True, capture_output=True, timeout=900)


def copied(http):
    """Messages that the daemon says are stored at the target."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=10) as answer:
        found = COPIED.search(answer.read().decode())
    return float(found.group(1)) if found else 0.0


def watch(args, daemon):
    """Messages a second behind the first of them, as the daemon's counter goes by."""
    begin = None
    limit = time.monotonic() + args.limit
    while time.monotonic() < limit:
        now, count = time.monotonic(), copied(daemon.http)
        if count >= args.messages:
            if begin is None or now <= begin[0]:
                raise RuntimeError("too few messages to measure: --messages")
            return (args.messages - begin[1]) / (now - begin[0])
        if begin is None and count >= args.messages * args.open:
            begin = (now, count)
        time.sleep(0.01)
    raise RuntimeError(f"{count:.0f} of {args.messages} messages copied in {args.limit} s")


def measure(args, source, line, case, name):
    """The rate over the line, to a fresh target."""
    target = line.far_side(args, *case)
    try:
        routes = os.path.join(target.directory, "routes.toml")
        with open(routes, "w", encoding="ascii") as file:
            file.write(ROUTES.format(near=source.at, far=target.at, name=name,
                                     parallelism=args.parallelism))
        sync = Daemon([os.path.join(args.build, "bin", "gantry-sync"),
                       *settings([f"routes.file={routes}", "http.port=0"])],
                      os.path.join(target.directory, "gantry-sync.log"))
        try:
            return watch(args, sync)
        finally:
            sync.stop()
    finally:
        target.close()
        line.close_case()


def print_table(rates, size):
    """What people read."""
    medians = {case: statistics.median(values) for case, values in rates.items()}
    best = medians[ROUND_TRIPS[0], LOSSES[0]]
    print("| round trip | lost packets | messages/s | MB/s | of no delay | spread |")
    print("|---|---|---|---|---|---|")
    for (round_trip, loss), rate in medians.items():
        values = rates[round_trip, loss]
        print(f"| {round_trip} ms | {100 * loss:.0f} % | {rate / 1e3:.1f} k "
              f"| {rate * size / 1e6:.1f} | {100 * rate / best:.0f} % "
              f"| {100 * (max(values) - min(values)) / rate:.0f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--directory", default=None, help="where the stores go")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=1024, help="bytes of a body")
    parser.add_argument("--queues", type=int, default=4)
    parser.add_argument("--parallelism", type=int, default=1, help="connections of the route")
    parser.add_argument("--namespaces", action="store_true", help="packets, not a proxy; as root")
    parser.add_argument("--congestion", default="bbr", help="control, of --namespaces")
    parser.add_argument("--link", type=float, default=100, help="MB/s it carries; 0: no limit")
    parser.add_argument("--open", type=float, default=0.1, help="share that is not measured")
    parser.add_argument("--limit", type=float, default=600, help="seconds of a run, at most")
    parser.add_argument("--set", action="append", default=[], help="broker setting key=value")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.messages, args.link = 1, 30_000, 10
    line = Line(args)
    rates = {case: [] for case in line.cases()}
    source = Side(args, "near")
    try:
        fill(args, source)
        for number in range(args.rounds):
            for case in rates:
                name = f"r{case[0]}-{case[1] * 1e3:.0f}-{number}"
                rates[case].append(measure(args, source, line, case, name))
    finally:
        source.close()
        line.close()
    print_table(rates, args.size)
    print(json.dumps({"cases": [{"round_trip_ms": case[0], "loss": case[1], "rates": values}
                                for case, values in rates.items()],
                      "size": args.size, "messages": args.messages, "link_mb": args.link}))


if __name__ == "__main__":
    sys.exit(main())
