# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of a document as somebody who copies them does: every block marked ```sh, in
their order, in one shell.

The shell has a network of its own, so that the document's ports are free however many tests run;
the folder of the programs and the work folder are the test's own. A block marked ```text shows what
the commands before it print: it must be so, up to numbers and the width of columns.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

BINARIES = "$PWD/build/release/bin"
LIMIT_SECONDS = 120


class Block:
    """Commands, what the document shows of their output, and what they did print."""

    def __init__(self, commands):
        self.commands = commands
        self.shown = []
        self.output = ""


def blocks_of(text):
    """The blocks of commands, in their order."""
    found = []
    for kind, body in re.findall(r"^```(sh|text)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if kind == "sh":
            found.append(Block(body))
        else:
            found[-1].shown += body.splitlines()
    return found


def shape_of(line):
    """A line without its numbers and the width of its columns."""
    return re.sub(r"\d+(\.\d+)?", "N", " ".join(line.split()))


class DocumentRun:
    """One run of a document's commands in a folder of its own; `close` removes that."""

    def __init__(self, document, binaries, work_folder):
        """`work_folder`: what the document calls the folder that its commands work in."""
        with open(document, encoding="utf-8") as file:
            self.blocks = blocks_of(file.read())
        self._base = tempfile.mkdtemp(prefix="gantry-document-")
        self._work = os.path.join(self._base, "work")
        self._replace = [(BINARIES, binaries), (work_folder, self._work)]
        self.status = None
        self.text = ""

    def close(self):
        shutil.rmtree(self._base, ignore_errors=True)

    def run(self, prefix):
        """Runs everything, ends at the first command that fails; whatever was started is gone
        afterwards. `prefix`: from in_own_network."""
        output = os.path.join(self._base, "output")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GANTRY_")}
        with open(output, "w", encoding="utf-8") as out:
            process = subprocess.Popen([*prefix, "bash", "-c", self._script()], stdout=out,
                                       stderr=subprocess.STDOUT, env=environment,
                                       start_new_session=True)
            try:
                self.status = process.wait(LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.status = f"none after {LIMIT_SECONDS} s"
            finally:
                end_session(process)
        with open(output, encoding="utf-8") as text:
            self.text = text.read()
        for part in self.text.split("== block ")[1:]:
            number, _, printed = part.partition("\n")
            self.blocks[int(number)].output = printed.partition("== done")[0]

    def output_of(self, command):
        """What the block printed that has this command."""
        return next(b.output for b in self.blocks if command in b.commands)

    def problems(self):
        """Why the commands did not run to their end, and what is not as it is shown."""
        found = []
        if self.status != 0 or not self.text.endswith("== done\n"):
            last = re.findall(r"^== block (\d+)", self.text, re.MULTILINE)
            found.append(f"status {self.status}, in block {last[-1] if last else 'none'}")
        for number, block in enumerate(self.blocks):
            printed = iter([shape_of(line) for line in block.output.splitlines()])
            for line in block.shown:
                if shape_of(line) not in printed:
                    found.append(f"block {number} does not print, or not there: {line}")
                    break
        return found

    def logs(self):
        """The last lines of what the daemons wrote, for a failure."""
        parts = []
        for name in sorted(os.listdir(self._work)) if os.path.isdir(self._work) else ():
            if name.endswith(".log"):
                path = os.path.join(self._work, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    parts.append(f"--- {name}\n" + "".join(file.readlines()[-15:]))
        return "\n".join(parts)

    def _script(self):
        lines = ["set -u", "ip link set lo up"]
        for number, block in enumerate(self.blocks):
            commands = block.commands
            for there, here in self._replace:
                commands = commands.replace(there, here)
            lines += [f"echo '== block {number}'", "set -e", commands, "set +e"]
        return "\n".join([*lines, "echo '== done'"])


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


def end_session(process):
    """Ends the shell and its children, which are in its session's process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def check_document(arguments, work_folder, more_problems, programs=None):
    """The whole of such a test: `arguments` are DOCUMENT and BIN_FOLDER, `more_problems` judges a
    DocumentRun that came to its end, `programs` are what it needs, by Debian package. Says
    "not run: ..." where the network or one of them cannot be had. The exit code."""
    document, binaries = arguments
    prefix = in_own_network()
    missing = [f"{program} (Debian: {package})" for program, package in (programs or {}).items()
               if not shutil.which(program)]
    if not prefix or missing:
        print("not run: needs " + ", ".join(missing or ["a network namespace"]))
        return 0
    began = time.monotonic()
    run = DocumentRun(document, binaries, work_folder)
    try:
        run.run(prefix)
        found = run.problems()
        found += [] if found else more_problems(run)
        seconds = time.monotonic() - began
        print(run.text if found else f"{len(run.blocks)} blocks in {seconds:.1f} s")
        if found:
            print(run.logs())
            print("\n".join(f"FAILED: {problem}" for problem in found))
        return 1 if found else 0
    finally:
        run.close()
