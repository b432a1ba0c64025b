#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What filtering costs a broker, against what sending costs it. Run: benchmarks/filter_cost.py BIN

Starts a nameserver and a broker of BIN (build/release/bin), sends messages whose property `price`
is 0 to 99, reads them with `price = 7` (one in a hundred matches) and without a filter, and prints
the broker's CPU time a message (user and system, all threads, from /proc) of each. Exits 1 when
scanning costs more than sending. In batches, sending is at its cheapest.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
SETTLED_SECONDS = 0.02
SETTLE_LIMIT_SECONDS = 30


def start(folder, program, settings, log):
    arguments = [a for s in settings for a in ("--set", s)]
    process = subprocess.Popen([os.path.join(folder, program), *arguments],
                               stdout=subprocess.PIPE, stderr=log, text=True)
    for line in process.stdout:
        if line.startswith("READY "):
            return process, dict(field.split("=") for field in line.split()[1:])["port"]
    raise RuntimeError(f"{program} did not start")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def settled(pid):
    """CPU time once what runs on behind the work (writing back, preparing) has ended."""
    before, end = cpu_seconds(pid), time.monotonic() + SETTLE_LIMIT_SECONDS
    while time.monotonic() < end:
        time.sleep(1)
        now = cpu_seconds(pid)
        if now - before < SETTLED_SECONDS:
            return now
        before = now
    return before


def write_messages(path, count, size):
    body = "b" * size
    with open(path, "w", encoding="utf-8") as out:
        for i in range(count):
            out.write(json.dumps({"body": body, "properties": {
                "country": "FR" if i % 3 else "US", "name": f"customer-{i}",
                "price": str(i % 100)}}) + "\n")


def measure(broker, what, command, count, results):
    before = settled(broker.pid)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    results[what] = (settled(broker.pid) - before) / count * 1e9


def run(options, work):
    log = open(os.path.join(work, "log"), "w", encoding="utf-8")
    results = {}
    daemons = []
    try:
        nameserver, port = start(options.bin, "gantry-nameserver",
                                 ["listen.port=0", "http.port=0"], log)
        daemons.append(nameserver)
        broker, _ = start(options.bin, "gantry-broker", [
            "listen.port=0", "http.port=0", f"nameserver.addresses=127.0.0.1:{port}",
            "broker.advertise_host=127.0.0.1", "topic.auto_create=true",
            "store.directory=" + os.path.join(work, "store")], log)
        daemons.append(broker)
        gantry = os.path.join(options.bin, "gantry")
        at = ["-n", f"127.0.0.1:{port}"]
        subprocess.run([gantry, "topic", "create", "T", "--queues", "1", *at], check=True,
                       stdout=subprocess.DEVNULL)
        messages = os.path.join(work, "messages")
        write_messages(messages, options.messages, options.size)
        count = options.messages
        produce = [gantry, "produce", "T", messages, "--jsonl", *at]
        read = [gantry, "consume", "T", "--from", "earliest", "--until-end", *at]
        for turn in range(options.rounds):
            measure(broker, f"send{turn}", produce, count, results)
            stored = count * (turn + 1)
            measure(broker, f"scan{turn}", [*read, "--sql", "price = 7"], stored, results)
            measure(broker, f"all{turn}", read, stored, results)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
        log.close()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin")
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="gantry-filter-cost-")
    try:
        results = run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    median = {}
    for what in ("send", "scan", "all"):
        values = sorted(results[f"{what}{turn}"] for turn in range(options.rounds))
        median[what] = values[len(values) // 2]
        print(f"{what}: {median[what]:.0f} ns of the broker's CPU a message, of "
              + ", ".join(f"{value:.0f}" for value in values))
    print(f"scanning / sending: {median['scan'] / median['send']:.2f}")
    return 1 if median["scan"] > median["send"] else 0


if __name__ == "__main__":
    sys.exit(main())
