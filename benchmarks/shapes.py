#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the shapes of docs/benchmarks.md with gantry-bench against a broker started for each.

  benchmarks/shapes.py --build build/release            five runs a shape, medians and spread
  benchmarks/shapes.py --smoke                          a few messages each: does every shape work?
  benchmarks/shapes.py --only produce-unbatched --perf  one shape, with the broker's perf top ten

Every run gets a fresh store. A run whose checker finds loss, gaps or disorder fails the script.
"""

import argparse
import collections
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field


@dataclass
class Shape:
    """One row of the table: what is prepared, what is measured."""

    name: str
    title: str
    bench: list
    messages: int
    broker: list = field(default_factory=list)
    prepare: list = field(default_factory=list)
    figure: str = "rate"  # or p50


BATCH = ["--batch", "32768"]
SHAPES = [
    Shape("produce-unbatched", "produce, unbatched frames, one connection, 64 in flight",
          ["produce", "--in-flight", "64"], 3_000_000),
    Shape("produce-batched", "produce, batches of 32 KiB, one producer, 4 in flight",
          ["produce", *BATCH, "--in-flight", "4"], 6_000_000),
    Shape("produce-batched-4", "produce, the same, 4 producers",
          ["produce", *BATCH, "--in-flight", "4", "--producers", "4"], 8_000_000),
    Shape("consume-8-queues", "consume from the page cache, 8 queues written interleaved",
          ["consume"], 3_000_000,
          prepare=["produce", *BATCH, "--in-flight", "4", "--producers", "4"]),
    Shape("consume-1-queue", "consume, one queue contiguous",
          ["consume"], 3_000_000,
          prepare=["produce", *BATCH, "--in-flight", "4", "--queues", "1"]),
    Shape("e2e", "produce and consume together",
          ["e2e", *BATCH, "--in-flight", "4"], 4_000_000),
    Shape("sync-64x1", "sync flush, 64 connections, one in flight each",
          ["produce", "--producers", "64", "--in-flight", "1"], 400_000,
          broker=["store.flush=sync"]),
    Shape("sync-1024", "sync flush, 1,024 in flight",
          ["produce", "--producers", "16", "--in-flight", "64"], 2_000_000,
          broker=["store.flush=sync"]),
    Shape("latency", "one in flight, p50",
          ["produce", "--in-flight", "1"], 200_000, figure="p50"),
    Shape("latency-spin", "one in flight, p50, client and broker spinning 50 us",
          ["produce", "--in-flight", "1", "--spin-us", "50"], 400_000,
          broker=["loop.spin_us=50"], figure="p50"),
]


class PageCache:
    """Keeps the machine's memory full of clean page cache, as it is after some days of service.

    A guest that never used its memory, or gave it back to its host, pays a fault of the host for
    each page: what is measured then is the hypervisor (0.3 to 0.8 GB/s), not the broker.
    """

    FREE_KIB = 3 << 20
    CHUNK = 4 << 20

    def __init__(self, directory):
        self.stores = collections.deque()  # oldest first, with their bytes
        self.file = tempfile.TemporaryFile(dir=directory, buffering=0)
        self.size = self.meminfo("MemTotal") * 1024
        self.file.truncate(64 * self.size)  # a hole: its pages cost memory, not disk
        self.at = 0

    @staticmethod
    def meminfo(name):
        """KiB that /proc/meminfo tells."""
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

    def fill(self):
        """Reads on until little memory is free, or as much as was free was read: a system that
        reclaims as fast as that is as good as full."""
        buffer = memoryview(bytearray(self.CHUNK))
        end = self.at + self.meminfo("MemFree") * 1024
        while self.meminfo("MemFree") > self.FREE_KIB and self.at < end:
            self.file.seek(self.at)
            self.file.readinto(buffer)
            self.at += self.CHUNK


    def keep(self, directory):
        """Takes a finished run's store, whose pages would be free once it is removed. It goes when
        newer stores have pushed it out of memory."""
        size = sum(os.path.getsize(os.path.join(at, name))
                   for at, _, names in os.walk(directory) for name in names)
        self.stores.append((directory, size))
        while sum(size for _, size in self.stores) > self.size:
            shutil.rmtree(self.stores.popleft()[0])

    def close(self):
        """Removes what is left."""
        for directory, _ in self.stores:
            shutil.rmtree(directory)
        self.file.close()


class Daemon:
    """A nameserver or broker process that printed READY."""

    def __init__(self, argv, log):
        self.log = open(log, "w")
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("READY"):
            self.process.kill()
            raise RuntimeError(f"{argv[0]} did not start, see {log}: {line!r}")
        words = dict(word.split("=", 1) for word in line.split()[1:])
        self.port = int(words["port"])
        self.http = int(words["http"])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.log.close()


def settings(pairs):
    """--set arguments."""
    return [word for pair in pairs for word in ("--set", pair)]


class Cluster:
    """One nameserver and one broker on free ports, with a fresh store."""

    def __init__(self, args, shape):
        self.directory = tempfile.mkdtemp(prefix="gantry-shapes-", dir=args.directory)
        binaries = os.path.join(args.build, "bin")
        self.nameserver = Daemon(
            [os.path.join(binaries, "gantry-nameserver"),
             *settings(["listen.port=0", "http.port=0", "listen.address=127.0.0.1"])],
            os.path.join(self.directory, "nameserver.log"))
        self.broker = Daemon(
            [os.path.join(binaries, "gantry-broker"),
             *settings(["listen.port=0", "http.port=0", "listen.address=127.0.0.1",
                        "broker.advertise_host=127.0.0.1",
                        f"nameserver.addresses=127.0.0.1:{self.nameserver.port}",
                        f"store.directory={self.directory}/store", *shape.broker, *args.set])],
            os.path.join(self.directory, "broker.log"))
        self.bench = [os.path.join(binaries, "gantry-bench")]

    def run(self, words, messages, perf=None):
        """Runs gantry-bench; its JSON."""
        argv = [*self.bench, *words, "--messages", str(messages), "-o", "json",
                "-n", f"127.0.0.1:{self.nameserver.port}"]
        recorder = None
        if perf:
            recorder = subprocess.Popen(["perf", "record", "-q", "-g", "-F", "997", "-o", perf,
                                         "-p", str(self.broker.process.pid)],
                                        stderr=subprocess.DEVNULL)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
        if recorder:
            recorder.send_signal(signal.SIGINT)
            recorder.wait()
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)} failed: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def anonymous_kib(self):
        """Anonymous memory of the broker, as /proc tells it."""
        with open(f"/proc/{self.broker.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("RssAnon"):
                    return int(line.split()[1])
        return 0

    def close(self, keep, page_cache):
        self.broker.stop()
        self.nameserver.stop()
        if page_cache and not keep:
            page_cache.keep(self.directory)
        elif not keep:
            shutil.rmtree(self.directory)


def top_ten(path):
    """Ten most expensive symbols of a perf recording."""
    text = subprocess.run(["perf", "report", "-i", path, "--no-children", "-g", "none", "--stdio",
                           "--percent-limit", "0.3"],
                          capture_output=True, text=True, check=False).stdout
    rows = [line.strip() for line in text.splitlines()]
    return [row for row in rows if row[:1].isdigit()][:10]


def measure(args, shape, messages, page_cache):
    """One run: the figure and the JSON of gantry-bench."""
    if page_cache:
        page_cache.fill()
    cluster = Cluster(args, shape)
    try:
        if shape.prepare:
            cluster.run(shape.prepare, messages)
        perf = os.path.join(cluster.directory, "perf.data") if args.perf else None
        result = cluster.run(shape.bench, messages, perf)
        result["broker_anonymous_kib"] = cluster.anonymous_kib()
        if perf:
            result["top_ten"] = top_ten(perf)
    finally:
        cluster.close(args.keep, page_cache)
    return result


def row_of(shape, results):
    """A Markdown row: median, range, latency."""
    if shape.figure == "p50":
        values = [result["latency_us"]["p50"] for result in results]
        text = [f"{value:.1f} us" for value in
                (statistics.median(values), min(values), max(values))]
    else:
        values = [result["messages_per_second"] for result in results]
        text = [f"{value / 1e3:,.0f} k/s" for value in
                (statistics.median(values), min(values), max(values))]
    p50 = statistics.median(result["latency_us"]["p50"] for result in results)
    p99 = statistics.median(result["latency_us"]["p99"] for result in results)
    return f"| {shape.title} | {text[0]} | {text[1]} .. {text[2]} | {p50:.0f} / {p99:.0f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--perf", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave stores and logs")
    parser.add_argument("--directory", default=None, help="where stores go")
    parser.add_argument("--set", action="append", default=[], help="broker setting key=value")
    parser.add_argument("--page-cache", choices=("full", "as-is"), default="full",
                        help="fill free memory with clean pages before each run, or leave it")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the message counts")
    args = parser.parse_args()
    shapes = [shape for shape in SHAPES if not args.only or shape.name in args.only]
    if not shapes:
        parser.error(f"--only {args.only}: none of {[shape.name for shape in SHAPES]}")
    passed = failed = 0
    page_cache = None
    if args.page_cache == "full" and not args.smoke:
        page_cache = PageCache(args.directory)
    print("| shape | median | range | p50 / p99 us |\n|---|---|---|---|", flush=True)
    for shape in shapes:
        messages = 2_000 if args.smoke else int(shape.messages * args.scale)
        try:
            results = [measure(args, shape, messages, page_cache)
                       for _ in range(1 if args.smoke else args.runs)]
            print(row_of(shape, results), flush=True)
            for line in results[-1].get("top_ten", []):
                print("    " + line, flush=True)
            passed += 1
        except (RuntimeError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
            print(f"| {shape.title} | FAILED: {error} | | |", flush=True)
            failed += 1
        time.sleep(0 if args.smoke else 1)
    if page_cache:
        page_cache.close()
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
