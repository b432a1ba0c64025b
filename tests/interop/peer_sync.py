# SPDX-License-Identifier: Apache-2.0
"""gantry-sync between a real RocketMQ cluster and a Gantry one, for tests/interop/run.

"rocket" and "again" are the same RocketMQ cluster: as another one it gets what came from it.

    PeerToGantry, PeerDelayed, PeerTransactions   rocket -> gantry -> again, as "again-..."
    PeerFromGantry                                rocket -> again, as "copy-..."
    SyncBoth                                      rocket <-> gantry
"""

import json
import os
import signal
import subprocess
import time
import urllib.request

WAIT_SECONDS = 120
BOTH = "SyncBoth"
THERE = ("PeerToGantry", "PeerDelayed", "PeerTransactions")
TRANSACTED = 20  # as in PeerSuite.java
BOTH_MESSAGES = 400

ROUTES = """
[clusters.rocket]
nameservers = ["{rocket}"]
dialect = "detect"
[clusters.again]
nameservers = ["{rocket}"]
dialect = "rocketmq"
[clusters.gantry]
nameservers = ["{gantry}"]
dialect = "gantry"

[[routes]]
name = "in"
from = "rocket"
to = "gantry"
topics = ["PeerToGantry", "PeerDelayed", "PeerTransactions"]
messages_per_second = 500
[[routes]]
name = "out"
from = "gantry"
to = "again"
topics = ["PeerToGantry", "PeerDelayed", "PeerTransactions"]
rename = "again-{{topic}}"
messages_per_second = 500
frame_bytes = "64KiB"
[[routes]]
name = "over"
from = "rocket"
to = "again"
topics = ["PeerFromGantry"]
rename = "copy-{{topic}}"
frame_bytes = "64KiB"
[[routes]]
name = "both"
from = "rocket"
to = "gantry"
topics = ["SyncBoth"]
direction = "both"
frame_bytes = "64KiB"
"""

# What a broker enters in a message or takes out of it when it stores it, and what a copy gains.
OF_BROKERS = {"WAIT", "CLUSTER", "MSG_REGION", "TRACE_ON", "REAL_TOPIC", "REAL_QID", "PGROUP",
              "TRAN_MSG", "__transactionId__", "TRANSACTION_CHECK_TIMES",
              "TRAN_PREPARED_QUEUE_OFFSET", "CHECK_IMMUNITY_TIME_IN_SECONDS", "DELAY"}
OF_COPIES = {"GANTRY_ORIGIN", "GANTRY_HOPS", "GANTRY_FROM", "GANTRY_ROUTE", "GANTRY_BORN_HOST",
             "GANTRY_BORN_MS", "GSEQ", "GSPAN"}


def expect(what, wanted, got):
    if wanted != got:
        raise AssertionError(f"{what}: wanted {wanted}, got {got}")


def wait_until(what, is_so):
    end = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() >= end:
            raise AssertionError(f"not within {WAIT_SECONDS} s: {what}")
        time.sleep(0.1)


class SyncDaemon:
    """gantry-sync; kill -9 and a start again are cheap."""

    def __init__(self, folder, work, routes):
        self.program = os.path.join(folder, "gantry-sync")
        self.routes = os.path.join(work, "routes.toml")
        self.log = os.path.join(work, "gantry-sync.log")
        self.repeats = 0  # of the daemons that are gone
        with open(self.routes, "w", encoding="ascii") as file:
            file.write(routes)
        self.start()

    def start(self):
        with open(self.log, "a", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [self.program, "--set", "routes.file=" + self.routes, "--set", "http.port=0"],
                stdout=subprocess.PIPE, stderr=errors, text=True)
        for line in self.process.stdout:
            if line.startswith("READY "):
                self.http = int(dict(f.split("=") for f in line.split()[1:])["http"])
                return
        raise RuntimeError("gantry-sync did not start, see " + self.log)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return answer.read().decode()

    def queues(self, route):
        """Those of a route, as the daemon reports them."""
        status = json.loads(self.get("/api/v1/status"))
        return [q for r in status["routes"] if r["name"] == route for q in r["queues"]]

    def sum(self, route, what):
        return sum(queue[what] for queue in self.queues(route))

    def repeated(self):
        status = json.loads(self.get("/api/v1/status"))
        return self.repeats + sum(q["repeats"] for r in status["routes"] for q in r["queues"])

    def kill(self):
        self.repeats = self.repeated()
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], capture_output=True, text=True,
                              timeout=WAIT_SECONDS)


def from_of(message):
    return message["properties"]["GANTRY_FROM"]


def first_of_each(copies):
    """The first copy of each original, in its queue's order, and how many others there are."""
    seen, first = set(), []
    for copy in sorted(copies, key=lambda m: (m["broker"], m["queue"], m["queue_offset"])):
        if from_of(copy) not in seen:
            seen.add(from_of(copy))
            first.append(copy)
    return first, len(copies) - len(first)


def own_properties(message):
    return {name: value for name, value in message["properties"].items()
            if name not in OF_BROKERS | OF_COPIES and not name.startswith("TIMER_")}


def place_of(message):
    return "/".join((message["topic"], message["broker"], str(message["queue"]),
                     str(message["queue_offset"])))


def born_of(message):
    """When and from where it was first sent: RocketMQ's brokers leave that to properties."""
    own = message["properties"]
    return (int(own.get("GANTRY_BORN_MS", message["born_ms"])),
            own.get("GANTRY_BORN_HOST", message["born_host"]))


def expect_copies(originals, copies, repeats_max, born=born_of):
    """Each original is there, whole, in its queue and behind those before it."""
    first, repeats = first_of_each(copies)
    if repeats > repeats_max:
        raise AssertionError(f"{repeats} repeats, {repeats_max} counted")
    wanted = {place_of(message): message for message in originals}
    expect("copies", len(wanted), len(first))
    last = {}
    for copy in first:
        original = wanted[from_of(copy)]
        for what in ("body", "key", "tag", "queue"):
            expect(f"{what} of {from_of(copy)}", original.get(what), copy.get(what))
        expect(f"birth of {from_of(copy)}", born(original), born(copy))
        expect(f"properties of {from_of(copy)}", own_properties(original), own_properties(copy))
        place = original["queue"], original["queue_offset"]
        if last.get(copy["queue"], (-1, -1)) >= place:
            raise AssertionError(f"{from_of(copy)} is behind {last[copy['queue']]}")
        last[copy["queue"]] = place


class SyncPart:
    """Both clusters, the daemon between them, and what is checked."""

    def __init__(self, peer, folder, work, nameserver):
        self.peer, self.nameserver = peer, nameserver
        self.gantry = os.path.join(folder, "gantry")
        self.daemon = SyncDaemon(folder, work, ROUTES.format(rocket=peer.nameserver,
                                                             gantry=nameserver))

    def ours(self, *arguments, lines=None):
        """Our command line towards the Gantry cluster."""
        done = subprocess.run([self.gantry, *arguments, "-n", self.nameserver], input=lines,
                              capture_output=True, text=True, timeout=WAIT_SECONDS)
        if done.returncode:
            raise AssertionError(f"{arguments[:3]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def read_ours(self, topic):
        text = self.ours("consume", topic, "--from", "earliest", "--until-end", "-o", "json")
        return [json.loads(line) for line in text.splitlines()]

    def read_theirs(self, topic):
        return self.peer.consume(topic, "--until-end")

    def wait_for(self, read, topic, count):
        def is_there():
            try:
                return len(first_of_each(read(topic))[0]) >= count
            except (AssertionError, KeyError):
                return False  # the topic is still to be made, or has others' messages
        wait_until(f"{count} copies in {topic}", is_there)

    def kill_amid(self):
        """kill -9 twice while both ways are busy, and a start after each."""
        for _ in range(2):
            wait_until("copies on both ways", lambda: all(
                self.daemon.sum(route, "messages") > 200 for route in ("in", "out")))
            self.daemon.kill()
            self.daemon.start()

    def check_in(self):
        for topic in THERE:
            originals = self.read_theirs(topic)
            self.wait_for(self.read_ours, topic, len(originals))
            expect_copies(originals, self.read_ours(topic), 0)  # Gantry takes each once

    def check_out(self):
        for topic in THERE:
            originals = self.read_ours(topic)
            self.wait_for(self.read_theirs, "again-" + topic, len(originals))
            copies = self.read_theirs("again-" + topic)
            expect_copies(originals, copies, self.daemon.repeated())
            for copy in copies:
                expect("hops", "rocket,gantry", copy["properties"]["GANTRY_HOPS"])
                expect("route", "out", copy["properties"]["GANTRY_ROUTE"])
                if abs(copy["born_ms"] - born_of(copy)[0]) > 1000:
                    raise AssertionError(f"{from_of(copy)} was born at {copy['born_ms']}")

    def check_over(self):
        originals = self.read_theirs("PeerFromGantry")
        self.wait_for(self.read_theirs, "copy-PeerFromGantry", len(originals))
        expect_copies(originals, self.read_theirs("copy-PeerFromGantry"), self.daemon.repeated())

    def check_special(self):
        """They were delayed, or half, once: nothing is held back again."""
        bodies = [m["body"] for m in self.read_theirs("again-PeerDelayed")]
        expect("order of the delayed", ["now", "later"], bodies)
        committed = sorted(int(m["body"]) for m in first_of_each(
            self.read_theirs("again-PeerTransactions"))[0])
        expect("committed", list(range(0, 2 * TRANSACTED, 2)), committed)

    def check_both(self):
        """Both sides have all, and nothing goes round."""
        for run, letter in ((self.ours, "g"), (self.peer.must, "r")):
            run("produce", BOTH, lines="".join(f"{letter}{n}\n" for n in range(BOTH_MESSAGES)))
        for read in (self.read_ours, self.read_theirs):
            wait_until("all on both sides", lambda one=read: len(one(BOTH)) >= 2 * BOTH_MESSAGES)
        for route in ("both", "both-back"):
            wait_until("what came is passed over", lambda name=route: self.daemon.sum(
                name, "skipped") >= BOTH_MESSAGES and self.daemon.sum(name, "lag_messages") == 0)
        wanted = sorted(f"{letter}{n}" for letter in "gr" for n in range(BOTH_MESSAGES))
        expect("bodies in Gantry", wanted, sorted(m["body"] for m in self.read_ours(BOTH)))
        expect("bodies in RocketMQ", wanted, sorted(m["body"] for m in self.read_theirs(BOTH)))

    def check_translate(self):
        """A group that has read some at RocketMQ goes on in Gantry behind them."""
        done = self.daemon.run("translate", self.daemon.routes, "--route", "in", "--group",
                               "peer-group", "--apply")
        expect("exit of translate", (0, "committed\n"), (done.returncode, done.stderr))
        offsets = {row[2]: int(row[3]) for row in (line.split() for line in
                                                   done.stdout.splitlines()[1:])}
        ends = {}
        for message in self.read_ours("PeerToGantry"):
            ends[str(message["queue"])] = message["queue_offset"] + 1
        expect("offsets of a group that has read all", ends, offsets)

    def check_check(self):
        done = self.daemon.run("check", self.daemon.routes)
        expect("exit of check", 0, done.returncode)
        if "again refuses nothing that it has" not in done.stdout:
            raise AssertionError(done.stdout)


def run(peer, folder, work, nameserver, run_suite):
    """`run_suite`: runs one of the Java programs at the RocketMQ cluster. Yields (name, step)."""
    for topic, queues in (("PeerTransactions", "2"), (BOTH, "4")):
        peer.must("topic", "create", topic, "-q", queues)
    run_suite("peer-transact")
    part = SyncPart(peer, folder, work, nameserver)
    try:
        yield "gantry-sync is killed twice while it copies both ways", part.kill_amid
        yield "what RocketMQ has is in Gantry: each once, whole, in order", part.check_in
        yield "what Gantry has is in RocketMQ: whole, in order, repeats counted", part.check_out
        yield "RocketMQ to RocketMQ", part.check_over
        yield "delayed and transactional messages are not held back again", part.check_special
        run_suite("peer-read-copied")
        yield "both ways at once: all on both sides, and no loop", part.check_both
        yield "a group moves from RocketMQ to Gantry", part.check_translate
        yield "gantry-sync check", part.check_check
    finally:
        part.daemon.stop()
