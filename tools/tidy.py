#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy 14 over the sources of the tree, skipping what has passed before.

tools/tidy.py --build build/clang [--jobs N] [--checks LIST] [FILE...]

LIST is added to the checks of .clang-tidy. A result is cached under the hash of the preprocessed
source (so of every header it includes), its comments, the compile command, the .clang-tidy files
that apply and LIST. Only clean results are cached. The last line is "N passed, N failed", counted
in files.
"""

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIDY = "clang-tidy-14"


def compile_commands(build):
    """Source path relative to the root -> its compile command, for our own sources."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    commands = {}
    for entry in entries:
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT)
        if not path.startswith(("build/", "..")):
            commands.setdefault(path, entry)
    return commands


def digest(entry, rules):
    """Identifies all that the result depends on; None if the source does not preprocess."""
    arguments = [a for a in shlex.split(entry["command"]) if a != "ccache"]
    if arguments[0].endswith("/ccache"):
        arguments = arguments[1:]
    output = arguments.index("-o")
    preprocess = arguments[:output] + arguments[output + 2:]
    preprocess[preprocess.index("-c")] = "-E"
    run = subprocess.run(preprocess + ["-C"], cwd=entry["directory"], capture_output=True)
    if run.returncode:
        return None
    return hashlib.sha256(b"\0".join([run.stdout, rules, entry["command"].encode()])).hexdigest()


def rules_of(path, checks):
    """The .clang-tidy files from the root to the folder of `path`, and what was added to them."""
    rules = [checks.encode()]
    folder = os.path.dirname(path)
    while True:
        file_name = os.path.join(ROOT, folder, ".clang-tidy")
        if os.path.exists(file_name):
            with open(file_name, "rb") as file:
                rules.append(file.read())
        if not folder:
            return b"\0".join(reversed(rules))
        folder = os.path.dirname(folder)


def check(path, entry, rules, arguments, cache):
    """(path, output or None if clean)"""
    key = digest(entry, rules)
    mark = os.path.join(cache, key) if key else None
    if mark and os.path.exists(mark):
        os.utime(mark)
        return path, None
    run = subprocess.run(
        [TIDY, "--quiet", "-p", arguments.build, "--checks=" + arguments.checks, path], cwd=ROOT,
        text=True, capture_output=True)
    if run.returncode == 0:
        if mark:
            open(mark, "w", encoding="utf-8").close()
        return path, None
    errors = "\n".join(l for l in run.stderr.splitlines() if "warnings generated" not in l)
    return path, (run.stdout + errors).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build/clang"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--checks", default="")
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()

    commands = compile_commands(arguments.build)
    chosen = [os.path.relpath(f, ROOT) for f in arguments.files] or sorted(commands)
    unknown = [path for path in chosen if path not in commands]
    if unknown:
        print("not in the build: " + " ".join(unknown))
        return 2
    cache = os.path.join(ROOT, "build", "tidy-cache")
    os.makedirs(cache, exist_ok=True)

    failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = pool.map(
            lambda p: check(p, commands[p], rules_of(p, arguments.checks), arguments, cache),
            chosen)
        for path, output in results:
            if output is not None:
                failed += 1
                print(f"---- {path}\n{output}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
