#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what cold readers cost producers and tail readers, and what they get of the disk.

  benchmarks/cold_readers.py --build build/release --gib 20       fills a log, measures, removes it
  benchmarks/cold_readers.py --directory D --keep --fill-only     the same in two steps:
  benchmarks/cold_readers.py --directory D --keep --variant same  a filled log is used again

The log is one topic with as many queues as readers, in batches of 32 KiB, queues interleaved. Then,
in turns, A: producers at a fixed rate with one tail consumer; B: the same, beside ten consumers in
groups of their own that read the log from its start out of a cold cache. Variant "different": each
reads a queue of its own; "same": each reads all queues. Each round begins with dd of the same disk.
"""

import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request

from shapes import Daemon, settings

TOPIC = "backlog"
SETTLE_SECONDS = 1.5  # readers that start, before the latency is measured


class Cluster:
    """A nameserver, and a broker that can be restarted on the same store."""

    def __init__(self, args):
        self.args = args
        self.binaries = os.path.join(args.build, "bin")
        self.store = os.path.join(args.directory, "store")
        self.nameserver = Daemon(
            [os.path.join(self.binaries, "gantry-nameserver"),
             *settings(["listen.port=0", "http.port=0", "listen.address=127.0.0.1"])],
            os.path.join(args.directory, "nameserver.log"))
        self.broker = self.start_broker()

    def start_broker(self):
        return Daemon(
            [os.path.join(self.binaries, "gantry-broker"),
             *settings(["listen.port=0", "http.port=0", "listen.address=127.0.0.1",
                        "broker.advertise_host=127.0.0.1",
                        f"nameserver.addresses=127.0.0.1:{self.nameserver.port}",
                        f"store.directory={self.store}", *self.args.set])],
            os.path.join(self.args.directory, "broker.log"))

    def bench(self, words, nice=0):
        """Starts gantry-bench."""
        return subprocess.Popen(
            [*(["nice", "-n", str(nice)] if nice else []),
             os.path.join(self.binaries, "gantry-bench"), *words, "-o", "json",
             "-n", f"127.0.0.1:{self.nameserver.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def disk_bytes(self):
        """Bytes the broker had the disk read."""
        with open(f"/proc/{self.broker.process.pid}/io", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))

    def metrics(self):
        """What the broker says of its cold reads."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.http}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {line.split()[0]: float(line.split()[1]) for line in lines
                if not line.startswith("#") and ("cold" in line or "lag" in line)}

    def close(self):
        self.broker.stop()
        self.nameserver.stop()


def finish(process, what, timeout=600):
    """The JSON of a gantry-bench that was started."""
    out, _ = process.communicate(timeout=timeout)
    if process.returncode != 0:
        raise RuntimeError(f"{what} failed: {out}")
    return json.loads(out)


def drop_cache(store):
    """Writes back and forgets every page of the log and of the consume queues."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
            drop.write("1")
    except OSError:
        pass  # not root: the log's own pages are dropped below
    for path in glob.glob(os.path.join(store, "**"), recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def dd(store, number, mib, direct):
    """MB/s of dd over one segment of the log, by turns another one."""
    segments = sorted(glob.glob(os.path.join(store, "commitlog", "*")))[:-2]
    path = segments[number % len(segments)]
    begin = time.monotonic()
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", f"count={mib}",
                    *(["iflag=direct"] if direct else [])],
                   stderr=subprocess.DEVNULL, check=True)
    took = time.monotonic() - begin
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return mib * 1.048576 / took


def fill(cluster, args):
    """Writes the log; as many messages as make args.gib."""
    messages = int(args.gib * (1 << 30) / (1024 + 110))
    begin = time.monotonic()
    finish(cluster.bench(["produce", "-t", TOPIC, "--queues", str(args.readers), "--messages",
                          str(messages), "--batch", "32768", "--in-flight", "4",
                          "--producers", "4"]), "filling", 1500)
    print(f"filled {args.gib} GiB, {messages} messages in {time.monotonic() - begin:.0f} s",
          flush=True)


def load(cluster, args):
    """The producers and the tail reader."""
    return finish(cluster.bench(
        ["e2e", "-t", "tail", "--queues", "4", "--producers", "2", "--in-flight", "1024",
         "--rate", str(args.rate), "--messages", str(args.rate * args.seconds)]), "the load")


def with_readers(cluster, args, number):
    """The load beside cold readers: its result, delivered MB/s and MB/s read from the disk."""
    seconds = args.seconds + 4
    readers = []
    drop_cache(cluster.store)
    for i in range(args.readers):
        words = ["consume", "-t", TOPIC, "-g", f"cold-{number}-{i}", "--seconds", str(seconds)]
        if args.variant == "different":
            words += ["--queue", str(i)]
        readers.append(cluster.bench(words, args.reader_nice))
    time.sleep(SETTLE_SECONDS)
    before, since = cluster.disk_bytes(), time.monotonic()
    result = load(cluster, args)
    took = time.monotonic() - since
    disk = (cluster.disk_bytes() - before) / took / 1e6
    results = [finish(reader, "a cold reader") for reader in readers]
    delivered = [reader["bytes_per_second"] / 1e6 for reader in results]
    return result, delivered, disk


def latency_of(results, name):
    """Medians of p50, p99 and p99.9 over the rounds."""
    return [statistics.median(result[name][q] for result in results)
            for q in ("p50", "p99", "p999")]


def report(args, alone, beside, rates):
    """Prints the table; the two ratios of p99 and the share of dd."""
    print("| | p50 | p99 | p99.9 us |\n|---|---|---|---|")
    ratios = []
    for name, title in (("send_latency_us", "send"), ("latency_us", "end to end")):
        rows = [latency_of(results, name) for results in (alone, beside)]
        for row, what in zip(rows, ("alone", "beside cold readers")):
            print(f"| {title}, {what} | " + " | ".join(f"{value:,.0f}" for value in row) + " |")
        ratios.append(rows[1][1] / rows[0][1])
    direct, buffered, delivered, disk = (statistics.median(rate[i] for rate in rates)
                                         for i in range(4))
    spread = [max(rate[4]) / max(min(rate[4]), 1e-9) for rate in rates]
    print(f"dd: {direct:.0f} MB/s direct, {buffered:.0f} MB/s buffered; cold readers got "
          f"{delivered:.0f} MB/s, from the disk {disk:.0f} MB/s; fastest / slowest reader "
          f"{statistics.median(spread):.2f}")
    print(f"{args.variant}: p99 of sends x{ratios[0]:.2f}, of the tail reader x{ratios[1]:.2f}, "
          f"cold readers {delivered / max(direct, buffered):.2f} of dd")


def measure(cluster, args):
    """Rounds of dd, A and B."""
    load(cluster, args)
    alone, beside, rates = [], [], []
    for number in range(args.rounds):
        drop_cache(cluster.store)
        speeds = [dd(cluster.store, 2 * number + i, args.dd_mib, i == 0) for i in range(2)]
        alone.append(load(cluster, args))
        result, delivered, disk = with_readers(cluster, args, number)
        beside.append(result)
        rates.append((*speeds, sum(delivered), disk, delivered))
        print(f"  round {number}: dd {speeds[0]:.0f} / {speeds[1]:.0f} MB/s, cold "
              f"{sum(delivered):.0f} MB/s, disk {disk:.0f} MB/s; p99 us of sends "
              f"{alone[-1]['send_latency_us']['p99']:.0f} -> "
              f"{beside[-1]['send_latency_us']['p99']:.0f}, end to end "
              f"{alone[-1]['latency_us']['p99']:.0f} -> {beside[-1]['latency_us']['p99']:.0f}",
              flush=True)
    for name, value in sorted(cluster.metrics().items()):
        print(f"  {name} {value:.0f}")
    report(args, alone, beside, rates)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--directory", default="/tmp/gantry-cold")
    parser.add_argument("--gib", type=float, default=20)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--rate", type=int, default=20_000, help="messages of 1 KiB a second")
    parser.add_argument("--seconds", type=int, default=10, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dd-mib", type=int, default=1024)
    parser.add_argument("--reader-nice", type=int, default=0,
                        help="niceness of the readers' processes, which share the machine here")
    parser.add_argument("--variant", choices=("different", "same"), default="different")
    parser.add_argument("--fill-only", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the log")
    parser.add_argument("--set", action="append", default=[], help="broker setting key=value")
    args = parser.parse_args()
    os.makedirs(args.directory, exist_ok=True)
    is_filled = os.path.exists(os.path.join(args.directory, "filled"))
    cluster = Cluster(args)
    try:
        if not is_filled:
            fill(cluster, args)
            with open(os.path.join(args.directory, "filled"), "w", encoding="ascii"):
                pass
        if not args.fill_only:
            measure(cluster, args)
    finally:
        cluster.close()
        if not args.keep:
            shutil.rmtree(args.directory)


if __name__ == "__main__":
    sys.exit(main())
