#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The run behind script/quickstart: real daemons, the gantry program, real records.

Every record of the apt index becomes a message: key = package name, tag = section, body = the
record. Two `gantry consume` processes of one group read them back. What came out must be what went
in: same bodies, and for each key in the order they were sent.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict

TOPIC = "packages"
GROUP = "quickstart"
RECORDS_MIN = 1000
WAIT_SECONDS = 60


class Failure(Exception):
    """What is printed instead of a stack trace."""


# ---- input -------------------------------------------------------------------------------------


def dump_index():
    run = subprocess.run(["apt-cache", "dumpavail"], capture_output=True)
    text = run.stdout.decode("utf-8", errors="replace")
    return [record for record in text.split("\n\n") if record.startswith("Package: ")]


def read_index():
    """The machine's package records; fetches the lists where a bare machine has none yet."""
    records = dump_index()
    if len(records) < RECORDS_MIN:
        print(f"the apt index has {len(records)} records: running apt-get update")
        as_root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*as_root, "apt-get", "update", "-q"], stdout=subprocess.DEVNULL)
        records = dump_index()
    if len(records) < RECORDS_MIN:
        raise Failure(f"the apt index has only {len(records)} records, even after apt-get update")
    return records


def field(record, name):
    found = re.search(rf"^{name}: *(.*)$", record, re.MULTILINE)
    return found.group(1) if found else ""


def write_messages(records, path):
    """Writes the input of `gantry produce --jsonl`; returns key -> bodies in order."""
    sent = defaultdict(list)
    with open(path, "w", encoding="utf-8") as file:
        for record in records:
            key = field(record, "Package")
            message = {"key": key, "tag": field(record, "Section"), "body": record}
            file.write(json.dumps(message, ensure_ascii=False) + "\n")
            sent[key].append(record)
    return sent


# ---- processes ---------------------------------------------------------------------------------


def free_port(wanted):
    """The first free port from `wanted` on, in steps of ten."""
    for port in range(wanted, wanted + 1000, 10):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failure(f"no free port from {wanted} on")


class Cluster:
    """A nameserver, a broker, and the gantry program to talk to them."""

    def __init__(self, binaries, work):
        self.binaries, self.work = binaries, work
        self.daemons = []
        self.nameserver = self.broker = self.http = ""

    def start(self):
        self.nameserver = "127.0.0.1:%s" % self.daemon("gantry-nameserver", [
            f"listen.port={free_port(9876)}", f"http.port={free_port(9877)}"])["port"]
        ready = self.daemon("gantry-broker", [
            f"listen.port={free_port(10911)}", f"http.port={free_port(10915)}",
            f"nameserver.addresses={self.nameserver}", "broker.advertise_host=127.0.0.1",
            f"store.directory={os.path.join(self.work, 'store')}",
            "topic.auto_create=true", "topic.auto_create_queues=8"])
        self.broker = f"127.0.0.1:{ready['port']}"
        self.http = f"127.0.0.1:{ready['http']}"

    def daemon(self, program, settings):
        log = os.path.join(self.work, program + ".log")
        arguments = [a for s in ["listen.address=127.0.0.1", *settings] for a in ("--set", s)]
        with open(log, "w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [os.path.join(self.binaries, program), *arguments], text=True,
                stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        self.daemons.append(process)
        for line in process.stdout:
            if line.startswith("READY "):
                return dict(word.split("=") for word in line.split()[1:])
        with open(log, encoding="utf-8") as text:
            raise Failure(f"{program} did not start:\n{text.read()[-2000:]}")

    def gantry(self, *arguments):
        return [os.path.join(self.binaries, "gantry"), *arguments, "-n", self.nameserver]

    def run(self, *arguments):
        """The standard output of one gantry command."""
        run = subprocess.run(self.gantry(*arguments), capture_output=True, text=True)
        if run.returncode:
            raise Failure(f"gantry {' '.join(arguments)}: status {run.returncode}\n{run.stderr}")
        return run.stdout

    def stop(self):
        for process in reversed(self.daemons):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.daemons = []


class Member:
    """One `gantry consume --group` process writing JSON lines to a file."""

    def __init__(self, cluster, number):
        self.path = os.path.join(cluster.work, f"consumed-{number}.jsonl")
        self.log = os.path.join(cluster.work, f"consumer-{number}.log")
        with open(self.path, "wb") as out, open(self.log, "wb") as errors:
            self.process = subprocess.Popen(
                cluster.gantry("consume", TOPIC, "--group", GROUP, "--from", "earliest",
                               "-o", "json"), stdout=out, stderr=errors)
        self.seen = 0
        self.lines = 0
        self.done = None

    def count(self):
        """Lines written so far."""
        with open(self.path, "rb") as file:
            file.seek(self.seen)
            while chunk := file.read(1 << 20):
                self.seen += len(chunk)
                self.lines += chunk.count(b"\n")
        if self.process.poll() is not None and self.done is None:
            with open(self.log, encoding="utf-8") as log:
                raise Failure(f"a consumer ended early: {log.read()[-2000:]}")
        return self.lines

    def stop(self):
        self.done = True
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

    def messages(self):
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def wait_until(what, condition):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"waited {WAIT_SECONDS} s in vain: {what}")
        time.sleep(0.02)


# ---- the run -----------------------------------------------------------------------------------


def transfer(cluster, input_path, total):
    """Publishes the file while two members consume; returns (report, members, seconds)."""
    cluster.run("topic", "create", TOPIC, "--queues", "8")
    members = [Member(cluster, 1), Member(cluster, 2)]
    try:
        wait_until("the group has two members", lambda: len(json.loads(
            cluster.run("group", "describe", GROUP, "-o", "json"))["members"]) == 2)
        began = time.monotonic()
        report = json.loads(cluster.run("produce", TOPIC, input_path, "--jsonl", "-o", "json"))
        wait_until(f"{total} messages are consumed",
                   lambda: sum(member.count() for member in members) >= total)
        seconds = time.monotonic() - began
    finally:
        for member in members:
            member.stop()
    return report, members, seconds


def compare(sent, members):
    """Checks what the members wrote; returns (received by key, seen twice, disordered keys)."""
    by_place, deliveries, backwards = {}, 0, 0
    for member in members:
        last = {}
        for message in member.messages():
            deliveries += 1
            place = (message["queue"], message["queue_offset"])
            backwards += place[1] <= last.get(place[0], -1)
            last[place[0]] = place[1]
            by_place[place] = message
    received = defaultdict(list)
    for _, message in sorted(by_place.items()):
        received[message["key"]].append(message["body"])
    disordered = [key for key in sent if received.get(key) != sent[key]]
    return received, deliveries - len(by_place), backwards, disordered


def checksum(by_key):
    """One digest over all bodies: keys sorted, bodies of a key in their order."""
    digest = hashlib.sha256()
    for key in sorted(by_key):
        for body in by_key[key]:
            digest.update(f"{key}\0{len(body)}\0{body}\0".encode())
    return digest.hexdigest()[:32]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    shutil.rmtree(os.path.join(arguments.work, "store"), ignore_errors=True)
    cluster = Cluster(arguments.bin, arguments.work)
    try:
        good = demonstrate(cluster, arguments.work)
        if good and arguments.keep:
            print_next_steps(cluster, "running; stop them with: kill "
                             + " ".join(str(p.pid) for p in cluster.daemons))
            cluster.daemons = []
        elif good:
            print_next_steps(cluster, "stopped; script/quickstart --keep leaves them running")
        return 0 if good else 1
    except Failure as failure:
        print(f"quickstart: {failure}", file=sys.stderr)
        return 1
    finally:
        cluster.stop()


def demonstrate(cluster, work):
    records = read_index()
    input_path = os.path.join(work, "packages.jsonl")
    sent = write_messages(records, input_path)
    sizes = sorted(len(record.encode()) for record in records)
    print(f"input      {len(records):,} package records of the apt index, {sum(sizes):,} bytes "
          f"({sizes[0]:,} to {sizes[-1]:,} each), {len(sent):,} keys", flush=True)
    cluster.start()
    print(f"cluster    nameserver {cluster.nameserver}, broker {cluster.broker}, "
          f"metrics http://{cluster.http}/metrics", flush=True)

    report, members, seconds = transfer(cluster, input_path, len(records))
    print(f"published  {report['messages']:,} messages in {report['seconds']:.2f} s: "
          f"{report['messages_per_second']:,.0f} msg/s, "
          f"{report['bytes'] / max(report['seconds'], 1e-6) / 1e6:,.0f} MB/s")
    shares = " + ".join(f"{member.count():,}" for member in members)
    print(f"consumed   {shares} messages by a group of two, the last one {seconds:.2f} s after "
          f"the start: {len(records) / seconds:,.0f} msg/s")

    received, twice, backwards, disordered = compare(sent, members)
    out = sum(len(bodies) for bodies in received.values())
    checks = {
        f"count      {len(records):,} in, {out:,} out, {twice:,} seen twice":
            out == len(records) == report["messages"],
        f"order      per key: {len(sent) - len(disordered):,} of {len(sent):,} keys as sent; "
        f"per queue: {backwards} steps back": not disordered and (backwards == 0 or twice > 0),
        "sharing    both members got messages": all(member.count() for member in members),
        f"checksum   in  {checksum(sent)}\n           out {checksum(received)}":
            checksum(sent) == checksum(received),
    }
    for text, good in checks.items():
        print(f"{text}  {'ok' if good else 'FAILED'}")
    return all(checks.values())


def print_next_steps(cluster, state):
    program = f"{cluster.binaries}/gantry"
    print(f"""
The daemons are {state}.
Try next, with --keep:
  export GANTRY_NAMESERVER={cluster.nameserver}
  {program} cluster
  {program} topic describe {TOPIC}
  {program} group describe {GROUP}
  {program} message query {TOPIC} --key bash
  echo hello | {program} produce greetings && \\
      {program} consume greetings --from earliest --until-end
  {program} consume {TOPIC} --from earliest --until-end --tag kernel -o json | head -3""")


if __name__ == "__main__":
    sys.exit(main())
