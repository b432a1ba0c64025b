#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a broker with very many queues: start after a kill and after a clean stop, memory, and
the rate of appending to all queues in turn against appending to 8.

  benchmarks/many_queues.py --build build/release              1 000 topics of 100 queues
  benchmarks/many_queues.py --topics 10 --queues 10 --rate-messages 10000    does it work?
  benchmarks/many_queues.py --runs 0 --restarts 0 --keep       fills a store, and names it
  benchmarks/many_queues.py --store DIRECTORY --keep           measures with that store

Prints a table, and everything as one line of JSON. Fails when a message is missing anywhere.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from shapes import Daemon, settings

FEW = ["--topic", "few", "--queues", "8"]
# How the broker ends, and whether its files leave the page cache before the start.
RESTARTS = [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGKILL, True),
            (signal.SIGTERM, True)]


class Store:
    """A nameserver that stays, and a broker that comes and goes over one store."""

    def __init__(self, args):
        self.args = args
        self.directory = args.store or tempfile.mkdtemp(prefix="gantry-queues-",
                                                        dir=args.directory)
        self.binaries = os.path.join(args.build, "bin")
        self.many = ["--topic", "many", "--topics", str(args.topics), "--queues", str(args.queues)]
        self.first_topic = "many-0" if args.topics > 1 else "many"
        self.nameserver = self.daemon("gantry-nameserver", [])
        self.broker = None

    def daemon(self, program, pairs):
        """Starts a daemon on free ports."""
        pairs = ["listen.port=0", "http.port=0", "listen.address=127.0.0.1", *pairs]
        return Daemon([os.path.join(self.binaries, program), *settings(pairs)],
                      os.path.join(self.directory, program + ".log"))

    def run(self, program, words, text=None):
        """Runs a client program to its end; what it printed."""
        argv = [os.path.join(self.binaries, program), *words,
                "-n", f"127.0.0.1:{self.nameserver.port}"]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, errors="replace",
                              timeout=900, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def bench(self, words):
        """Runs gantry-bench; its JSON."""
        return json.loads(self.run("gantry-bench", [*words, "-o", "json"]))

    def start(self):
        """Starts the broker; seconds from its start to READY, and to a first send and pull by
        programs started then."""
        begin = time.monotonic()
        self.broker = self.daemon("gantry-broker",
                                  ["broker.advertise_host=127.0.0.1",
                                   f"nameserver.addresses=127.0.0.1:{self.nameserver.port}",
                                   f"store.directory={self.directory}/store", *self.args.set])
        times = {"ready": time.monotonic() - begin}
        if self.is_filled():
            self.run("gantry", ["produce", "after"], "hello\n")
            times["send"] = time.monotonic() - begin
            self.run("gantry", ["consume", self.first_topic, "--from", "earliest", "--count", "1"])
            times["pull"] = time.monotonic() - begin
        return times

    def is_filled(self):
        """Whether every queue has its messages."""
        return os.path.exists(os.path.join(self.directory, "filled"))

    def fill(self):
        """Puts the messages into every queue; the rate."""
        count = self.args.topics * self.args.queues * self.args.per_queue
        report = self.bench(["produce", *self.many, "--messages", str(count), "--size",
                             str(self.args.size), *self.args.load.split()])
        self.bench(["produce", "--topic", "after", "--queues", "1", "--messages", "1"])
        with open(os.path.join(self.directory, "filled"), "w", encoding="ascii"):
            pass
        return report["messages_per_second"]

    def end(self, how):
        """Ends the broker by SIGKILL or SIGTERM; seconds it took."""
        begin = time.monotonic()
        self.broker.process.send_signal(how)
        self.broker.process.wait(120)
        return time.monotonic() - begin

    def forget_cached(self):
        """Drops the store's files from the page cache, as after a boot."""
        for at, _, names in os.walk(os.path.join(self.directory, "store")):
            for name in names:
                file = os.open(os.path.join(at, name), os.O_RDONLY)
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)

    def memory(self):
        """MiB of the broker: anonymous memory, and the parts of files it has mapped."""
        anonymous = resident = 0
        with open(f"/proc/{self.broker.process.pid}/smaps_rollup", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("Anonymous:"):
                    anonymous = int(line.split()[1])
                elif line.startswith("Rss:"):
                    resident = int(line.split()[1])
        return {"anonymous_mib": anonymous / 1024, "files_mib": (resident - anonymous) / 1024}

    def check(self):
        """Reads some topics from their first message and compares."""
        step = max(1, self.args.topics // self.args.checked)
        for number in range(0, self.args.topics, step):
            topic = f"many-{number}" if self.args.topics > 1 else "many"
            report = self.bench(["consume", "--topic", topic])
            wanted = self.args.queues * self.args.per_queue
            if not report["ok"] or report["messages"] < wanted:
                raise RuntimeError(f"{topic}: {report}, at least {wanted} wanted")

    def close(self, keep):
        """Ends everything."""
        for daemon in (self.broker, self.nameserver):
            if daemon and daemon.process.poll() is None:
                daemon.stop()
        if keep:
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory)


def measure_rates(store, args):
    """Both shapes in turn, `runs` times; messages per second."""
    rates = {"few": [], "many": []}
    # Two turns first: a producer asks for 1 000 routes, and its memory is new.
    warmup = 2 * args.topics * args.queues
    load = ["--messages", str(args.rate_messages + warmup), "--warmup", str(warmup),
            "--size", str(args.size), *args.load.split()]
    for _ in range(args.runs):
        for name, shape in (("few", FEW), ("many", store.many)):
            report = store.bench(["produce", *shape, *load])
            if not report["ok"]:
                raise RuntimeError(f"produce {name}: {report}")
            rates[name].append(report["messages_per_second"])
    return rates


def restart(store, how, cold):
    """One end and start of the broker: its times and memory."""
    row = {"how": "kill -9" if how == signal.SIGKILL else "stop", "cold": cold,
           "end": store.end(how)}
    if cold:
        store.forget_cached()
    row.update(store.start())
    row.update(store.memory())
    return row


def print_table(result):
    """What people read."""
    print("| start after | page cache | READY | first send | first pull | anonymous memory |")
    print("|---|---|---|---|---|---|")
    for row in result["restarts"]:
        cached = "dropped" if row["cold"] else "as it was"
        print(f"| {row['how']} | {cached} | {row['ready']:.2f} s | {row['send']:.2f} s "
              f"| {row['pull']:.2f} s | {row['anonymous_mib']:.0f} MiB |")
    filled = result["filled"]
    print(f"\nmemory with all queues filled: {filled['anonymous_mib']:.0f} MiB anonymous, "
          f"{filled['files_mib']:.0f} MiB of files mapped")
    rates = result["rates"]
    if rates["few"]:
        few, many = (statistics.median(rates[name]) for name in ("few", "many"))
        print(f"appending: 8 queues {few / 1e3:.0f} k/s, {result['queues']} queues "
              f"{many / 1e3:.0f} k/s: {100 * many / few:.0f} % (medians of {len(rates['few'])})")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--directory", default=None, help="where the store goes")
    parser.add_argument("--topics", type=int, default=1_000)
    parser.add_argument("--queues", type=int, default=100, help="of each topic")
    parser.add_argument("--per-queue", type=int, default=100, help="messages filled in")
    parser.add_argument("--size", type=int, default=256, help="bytes of a body")
    parser.add_argument("--runs", type=int, default=5, help="pairs of rate measurements; 0: none")
    parser.add_argument("--restarts", type=int, default=1, help="times each kind of restart")
    parser.add_argument("--rate-messages", type=int, default=1_000_000)
    parser.add_argument("--load", default="--in-flight 64", help="words for gantry-bench")
    parser.add_argument("--checked", type=int, default=10, help="topics read after a restart")
    parser.add_argument("--set", action="append", default=[], help="broker setting key=value")
    parser.add_argument("--store", default=None, help="a directory kept by an earlier run")
    parser.add_argument("--keep", action="store_true", help="leave the store and the logs")
    args = parser.parse_args()
    store = Store(args)
    result = {"queues": args.topics * args.queues, "per_queue": args.per_queue,
              "size": args.size, "restarts": []}
    try:
        store.start()
        if not store.is_filled():
            result["fill_per_second"] = store.fill()
        result["filled"] = store.memory()
        result["rates"] = measure_rates(store, args)
        for how, cold in RESTARTS * args.restarts:
            result["restarts"].append(restart(store, how, cold))
        store.check()
    finally:
        store.close(args.keep)
    print_table(result)
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
