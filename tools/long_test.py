#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of crashes and faults with fresh seeds for a time. See script/test --long.

  tools/long_test.py [--seconds N] [--only PART] BIN_FOLDER

Takes turns between the campaigns, by the share of the time that each is to have. Prints a line a
run: its seed, what it counted, its verdict; a run that fails prints the command that repeats it,
and its output is kept.
At the end a table, and "N passed, N failed" in runs. Exit status 1 when any failed.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time

RUN_SECONDS = 900


class Campaign:
    """One doctest case, or a few, that a seed drives; `counted` finds what a run has done."""

    def __init__(self, name, unit, program, cases, counted, settings=None, share=1):
        self.name, self.unit, self.program, self.cases = name, unit, program, cases
        self.counted, self.share = counted, share
        self.settings = settings or {}
        self.seconds, self.runs, self.count, self.failures, self.seeds = 0.0, 0, 0, 0, []

    def command(self, folder):
        return [os.path.join(folder, self.program), "-s=false", *self.cases]


CAMPAIGNS = [
    Campaign("power cuts", "images", "storage_tests", ["-tc=whatever a power cut leaves*"],
             r"GANTRY_TEST_IMAGES=(\d+)", {"GANTRY_TEST_IMAGES": "400"}, share=4),
    Campaign("kills at a stage", "kills", "storage_tests", ["-tc=killed at any stage*"],
             r" kills=(\d+)", {"GANTRY_TEST_ROUNDS": "2"}, share=3),
    Campaign("kills of a writer", "kills", "storage_tests", ["-ts=storage/crash"], 12),
    Campaign("kills of a broker under load", "kills", "process_tests", ["-ts=process/broker_kill"],
             5),
    Campaign("kills around an ack", "kills", "process_tests", ["-tc=fault 1:*"], 3),
    Campaign("torn tails of a broker", "tears", "process_tests", ["-tc=a torn tail costs*"], 6),
    Campaign("prefixes and flipped bytes", "runs", "storage_tests",
             ["-tc=every prefix of a small log*,*flipped byte*"], 1),
]


def count_of(campaign, output):
    if isinstance(campaign.counted, int):
        return campaign.counted
    return sum(int(n) for n in re.findall(campaign.counted, output))


def run(campaign, folder, seed, log_folder):
    """One run; whether it passed."""
    settings = {"GANTRY_TEST_SEED": str(seed), **campaign.settings}
    command = campaign.command(folder)
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=RUN_SECONDS, check=False, env={**os.environ, **settings})
        output, status = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        output, status = str(error), "no end within %d s" % RUN_SECONDS
    took = time.monotonic() - began
    count = count_of(campaign, output)
    passed = status == 0 and count > 0 and re.search(r"assertions: +[1-9]", output) is not None
    campaign.seconds += took
    campaign.runs += 1
    campaign.count += count
    campaign.seeds.append(seed)
    print(f"{'ok    ' if passed else 'FAILED'} {campaign.name}: seed {seed}, {count} "
          f"{campaign.unit}, {took:.1f} s", flush=True)
    if not passed:
        campaign.failures += 1
        kept = os.path.join(log_folder, f"{campaign.name.replace(' ', '-')}-{seed}.log")
        with open(kept, "w", encoding="utf-8") as file:
            file.write(output)
        told = " ".join(f"{key}={value}" for key, value in settings.items())
        quoted = " ".join(f"'{part}'" if " " in part else part for part in command)
        print(f"  status {status}; output: {kept}\n  again: {told} {quoted}", flush=True)
        print("\n".join(line for line in output.splitlines() if " storage " not in line)[-3000:])
    return passed


def table():
    print("\n%-30s %6s %10s %-7s %10s   %s" % ("CAMPAIGN", "RUNS", "COUNT", "OF", "VIOLATIONS",
                                              "FIRST SEED"))
    for c in CAMPAIGNS:
        if c.runs:
            print("%-30s %6d %10d %-7s %10d   %d" % (c.name, c.runs, c.count, c.unit, c.failures,
                                                    c.seeds[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(48),
                        help="draws the seeds of the runs")
    parser.add_argument("--only", default="", help="campaigns whose name contains this")
    parser.add_argument("folder", metavar="BIN_FOLDER")
    given = parser.parse_args()
    campaigns = [c for c in CAMPAIGNS if given.only in c.name]
    if not campaigns:
        parser.error(f"no campaign has {given.only!r} in its name")
    draw = random.Random(given.seed)
    print(f"long run of {given.seconds} s, --seed {given.seed}", flush=True)
    log_folder = tempfile.mkdtemp(prefix="gantry-long-")
    end = time.monotonic() + given.seconds
    passed = failed = 0
    while time.monotonic() < end:
        campaign = min(campaigns, key=lambda c: c.seconds / c.share)
        if run(campaign, os.path.abspath(given.folder), draw.getrandbits(48), log_folder):
            passed += 1
        else:
            failed += 1
    table()
    if not failed:
        os.rmdir(log_folder)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
