#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of docs/operations/cluster.md in their order and looks at what they print.

Run: tests/operations/cluster_test.py DOCUMENT BIN_FOLDER. Every block marked ```sh is run, in one
shell, in a network of its own, so that the document's ports are free; the folder of the programs
and the work folder are the test's own. Says "not run: ..." where that
cannot be had.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

WORK = "/tmp/gantry-cluster"
LIMIT_SECONDS = 120

# What counting lines print, in their order: every message once, whoever was killed meanwhile.
COUNTS = ["2000", "3000", "200"]


def blocks(text):
    """The commands of the document, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def script_of(document, binaries, work):
    """One bash script that ends at the first command that fails, and says where it is."""
    with open(document, encoding="utf-8") as file:
        commands = blocks(file.read())
    lines = ["set -u", "ip link set lo up"]
    for number, block in enumerate(commands):
        block = block.replace("$PWD/build/release/bin", binaries).replace(WORK, work)
        lines.append(f"echo '== block {number}'")
        lines.append("set -e")
        lines.append(block)
        lines.append("set +e")
    lines.append("echo '== done'")
    return len(commands), "\n".join(lines)


def in_own_network():
    """How to start a command in a network of its own; nothing where that is not allowed."""
    for prefix in (["unshare", "-n"], ["unshare", "-rn"]):
        try:
            run = subprocess.run([*prefix, "ip", "link", "set", "lo", "up"], capture_output=True)
        except OSError:
            continue
        if run.returncode == 0:
            return prefix
    return None


def run(prefix, script, work):
    """Output and status of the script; whatever it started is gone afterwards."""
    output = os.path.join(work, "output")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GANTRY_")}
    with open(output, "w", encoding="utf-8") as out:
        process = subprocess.Popen([*prefix, "bash", "-c", script], stdout=out,
                                   stderr=subprocess.STDOUT, env=environment,
                                   start_new_session=True)
        try:
            status = process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            end_session(process)
    with open(output, encoding="utf-8") as text:
        return status, text.read()


def end_session(process):
    """Ends the shell and its children, which are in its session's process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def logs(work):
    """The last lines of what the daemons wrote, for a failure."""
    parts = []
    for name in sorted(os.listdir(work)):
        if name.endswith(".log"):
            with open(os.path.join(work, name), encoding="utf-8", errors="replace") as file:
                parts.append(f"--- {name}\n" + "".join(file.readlines()[-15:]))
    return "\n".join(parts)


def problems(status, output):
    found = []
    if status != 0 or "== done" not in output:
        last = re.findall(r"== block (\d+)", output)
        found.append(f"status {status}, in block {last[-1] if last else 'none'}")
    counts = re.findall(r"^(\d+)$", output, flags=re.MULTILINE)
    if counts != COUNTS:
        found.append(f"messages counted: {counts}, not {COUNTS}")
    if "would be lost" not in output:
        found.append("promote did not say what would be lost")
    return found


def main(arguments):
    document, binaries = arguments
    prefix = in_own_network()
    if not prefix or not shutil.which("etcd"):
        print("not run: needs etcd (Debian: etcd-server) and a network namespace")
        return 0
    work = tempfile.mkdtemp(prefix="gantry-cluster-")
    began = time.monotonic()
    try:
        count, script = script_of(document, binaries, work)
        status, output = run(prefix, script, work)
        found = problems(status, output)
        print(output if found else f"{count} blocks in {time.monotonic() - began:.1f} s")
        if found:
            print(logs(work))
            print("\n".join(f"FAILED: {problem}" for problem in found))
        return 1 if found else 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
