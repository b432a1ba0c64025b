#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a second copy of the log costs: a master and a slave with static roles, each store
fresh, gantry-bench as the producer.

  benchmarks/replication.py --build build/release       five rounds, medians and shares
  benchmarks/replication.py --smoke                     a few messages each: does every case work?

Cases take turns, so that what the machine does meanwhile falls on all of them:

  alone      no replication
  async      a slave; a send waits for the master only
  sync       the same, a send waits for both copies
  link       sync, the slave behind a proxy on this machine
  delayed    the same proxy, every byte 25 ms late in each direction: a round trip of 50 ms

Prints a table, and everything as one line of JSON. Fails when a run of the producer does.
"""

import argparse
import collections
import json
import os
import random
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

from shapes import Daemon, settings

LOAD = ["produce", "--batch", "32768", "--producers", "4"]


@dataclass
class Case:
    """One row of the table."""

    name: str
    title: str
    has_slave: bool = True
    acks: str = "sync"
    delay_ms: float = -1.0  # one way; below 0: no proxy
    in_sync_min: int = 2


CASES = [
    Case("alone", "one broker, no replication", has_slave=False),
    Case("async", "one slave, acks=async", acks="async", in_sync_min=1),
    Case("sync", "one slave, acks=sync, two copies"),
    Case("link", "the same through a proxy", delay_ms=0.0),
    Case("delayed", "the same, 50 ms round trip", delay_ms=25.0),
]


class DelayProxy:
    """Forwards TCP connections to a port of this machine, every byte a fixed time late, and with
    `rate` no more than so many bytes a second in each direction of a connection. It holds what is
    on its way, as a long line does: up to ROOM bytes in each direction. `listen`: a pair of host
    and port, which is any with 0."""

    ROOM = 256 << 20
    CHUNK = 1 << 20

    def __init__(self, target, delay_ms, rate=0, listen=("127.0.0.1", 0)):
        self.target = target
        self.delay = delay_ms / 1000
        self.rate = rate
        self.listener = socket.create_server(listen)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        """Until the listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one.setblocking(False)
            threading.Thread(target=self.carry, args=(client, server), daemon=True).start()

    def carry(self, client, server):
        """Both directions of one connection, until either end closes it."""
        lanes = {client: collections.deque(), server: collections.deque()}  # by receiver
        held = {client: 0, server: 0}
        free_at = {client: 0.0, server: 0.0}  # when the line has sent what it was given
        other = {client: server, server: client}
        selector = selectors.DefaultSelector()
        for one in lanes:
            selector.register(one, selectors.EVENT_READ)
        try:
            while True:
                now = time.monotonic()
                wait = 0.5
                for to, lane in lanes.items():
                    is_due = lane and lane[0][0] <= now
                    wants = selectors.EVENT_WRITE if is_due else 0
                    if held[other[to]] < self.ROOM:
                        wants |= selectors.EVENT_READ
                    selector.modify(to, wants or selectors.EVENT_READ)
                    if lane and not is_due:
                        wait = min(wait, lane[0][0] - now)
                for key, ready in selector.select(wait):
                    one = key.fileobj
                    if ready & selectors.EVENT_READ and held[other[one]] < self.ROOM:
                        data = one.recv(self.CHUNK)
                        if not data:
                            return
                        sent = max(time.monotonic(), free_at[one])
                        sent += len(data) / self.rate if self.rate else 0
                        free_at[one] = sent
                        lanes[other[one]].append((sent + self.delay, memoryview(data)))
                        held[other[one]] += len(data)
                    if ready & selectors.EVENT_WRITE:
                        held[one] -= self.write(one, lanes[one])
        except OSError:
            return
        finally:
            client.close()
            server.close()

    @staticmethod
    def write(to, lane):
        """What is due, as far as the socket takes it; its bytes."""
        written = 0
        while lane and lane[0][0] <= time.monotonic():
            due, data = lane[0]
            try:
                sent = to.send(data)
            except BlockingIOError:
                break
            written += sent
            if sent == len(data):
                lane.popleft()
            else:
                lane[0] = (due, data[sent:])
                break
        return written

    def close(self):
        """No new connections."""
        self.listener.close()


CLAIMS = []


def free_port():
    """One that nobody listens on, and that is given to no other benchmark or test while this
    process runs: each claims a name of the kernel's. Below those of outgoing connections."""
    while True:
        port = random.randrange(10_000, 32_000)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0gantry-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            claim.close()
            continue
        CLAIMS.append(claim)
        return port


class Group:
    """A nameserver and one or two brokers, for one run; the slave later where it is late."""

    def __init__(self, args, case, is_late=False):
        self.args = args
        self.case = case
        self.directory = tempfile.mkdtemp(prefix="gantry-replication-", dir=args.directory)
        self.binaries = os.path.join(args.build, "bin")
        self.daemons = []
        self.proxy = None
        self.nameserver = self.daemon("gantry-nameserver", "nameserver", [])
        self.ports = [free_port(), free_port()]
        if case.delay_ms >= 0:
            self.proxy = DelayProxy(self.ports[0], case.delay_ms)
        self.broker("master", 1, self.ports[0], self.ports[1])
        if case.has_slave and not is_late:
            self.start_slave()

    def start_slave(self):
        """An empty one."""
        self.broker("slave", 2, self.ports[1], self.proxy.port if self.proxy else self.ports[0])

    def daemon(self, program, name, pairs):
        """Starts a daemon on free ports."""
        pairs = ["listen.port=0", "http.port=0", "listen.address=127.0.0.1", *pairs]
        started = Daemon([os.path.join(self.binaries, program), *settings(pairs)],
                         os.path.join(self.directory, name + ".log"))
        self.daemons.append(started)
        return started

    def broker(self, role, member, port, peer):
        """Starts a broker of the group."""
        pairs = ["broker.advertise_host=127.0.0.1", "broker.name=replicated",
                 f"nameserver.addresses=127.0.0.1:{self.nameserver.port}",
                 f"store.directory={self.directory}/{role}"]
        if self.case.has_slave:
            pairs += ["replication.mode=static", f"replication.role={role}",
                      f"replication.member={member}", f"replication.listen_port={port}",
                      "replication.advertise_host=127.0.0.1",
                      f"replication.peers=127.0.0.1:{peer}",
                      f"replication.acks={self.case.acks}",
                      f"replication.in_sync_min={self.case.in_sync_min}"]
        self.daemon("gantry-broker", role, [*pairs, *self.args.set])

    def bench(self, words):
        """Runs gantry-bench; its JSON, or nothing when it failed."""
        argv = [os.path.join(self.binaries, "gantry-bench"), *words, "-o", "json",
                "-n", f"127.0.0.1:{self.nameserver.port}"]
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=900,
                              check=False)
        self.last_error = done.stdout + done.stderr
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_until_in_sync(self):
        """Until a send that needs every copy succeeds."""
        limit = time.monotonic() + 30
        while self.bench(["produce", "--messages", "1", "--topic", "first"]) is None:
            if time.monotonic() > limit:
                raise RuntimeError(f"the group takes no message: {self.last_error}")
            time.sleep(0.2)

    def measure(self):
        """Messages per second."""
        self.wait_until_in_sync()
        report = self.bench([*LOAD, "--messages", str(self.args.messages), "--warmup",
                             str(self.args.messages // 10), "--size", str(self.args.size),
                             "--in-flight", str(self.args.in_flight)])
        if report is None or not report["ok"]:
            raise RuntimeError(f"{self.case.name}: {self.last_error}")
        return report["messages_per_second"]

    def close(self):
        """Ends everything and removes it."""
        if self.proxy:
            self.proxy.close()
        for daemon in reversed(self.daemons):
            if daemon.process.poll() is None:
                daemon.stop()
        shutil.rmtree(self.directory)


def print_table(rates, size):
    """What people read."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print("| case | messages/s | MB/s | spread |")
    print("|---|---|---|---|")
    for case in CASES:
        if case.name in medians:
            values = rates[case.name]
            rate = medians[case.name]
            spread = 100 * (max(values) - min(values)) / rate
            print(f"| {case.title} | {rate / 1e3:.0f} k | {rate * size / 1e6:.0f} "
                  f"| {spread:.0f} % |")
    print()
    for of, to in (("async", "alone"), ("sync", "async"), ("delayed", "link")):
        if of in medians and to in medians:
            print(f"{of} is {100 * medians[of] / medians[to]:.0f} % of {to}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--directory", default=None, help="where the stores go")
    parser.add_argument("--only", action="append", help="a case; again for more of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=4_000_000)
    parser.add_argument("--size", type=int, default=256, help="bytes of a body")
    parser.add_argument("--in-flight", type=int, default=256,
                        help="frames of each producer; 32 MiB under way fill the delayed link")
    parser.add_argument("--set", action="append", default=[], help="broker setting key=value")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.messages = 1, 2_000
    rates = {}
    for _ in range(args.rounds):
        for case in CASES:
            if args.only and case.name not in args.only:
                continue
            group = Group(args, case)
            try:
                rates.setdefault(case.name, []).append(group.measure())
            finally:
                group.close()
    print_table(rates, args.size)
    print(json.dumps({"rates": rates, "size": args.size, "in_flight": args.in_flight}))


if __name__ == "__main__":
    sys.exit(main())
