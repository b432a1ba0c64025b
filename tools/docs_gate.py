#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the documents against the tree and the programs. Run: tools/docs_gate.py [BIN_FOLDER]

Every relative link and #anchor resolves, every `path/to/file` named in a document exists, so does
every test named as `path/to/file_test.cc` "case", each fault of FAULTS has a test in
docs/durability.md, and docs/settings.md holds what each daemon prints for --help-markdown (--write
renews it).
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DAEMONS = ("gantry-nameserver", "gantry-broker", "gantry-sync")
SETTINGS = "docs/settings.md"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:common|protocol|storage|filter|nameserver|client|broker|tools|benchmarks|"
                  r"tests|docs|script|cmake|\.ci)/[\w./-]*\w)`")

NAMED_TEST = re.compile(r'`(tests/[\w./]+\.cc)`\s+"([^"]+)"')
CASE = re.compile(r'TEST_CASE(?:_FIXTURE)?\(\s*(?:\w+,\s*)?((?:"(?:[^"\\]|\\.)*"\s*)+)\)')
DURABILITY = "docs/durability.md"
FAULTS = (*range(1, 37), 39, 52, 54)


def documents():
    """Markdown files of the tree, relative to the root."""
    for folder, names, files in os.walk(ROOT):
        names[:] = [n for n in names if n not in (".git", "build", "target", ".cache")]
        for name in files:
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), ROOT)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def anchors(text):
    """The anchors that the headings of a document get."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+\s+(.*?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def broken_links(path):
    text = read(path)
    without_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for target in LINK.findall(without_code):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        if not os.path.exists(os.path.join(ROOT, full)):
            yield f"{path}: link to {target}: no such file"
        elif anchor and full.endswith(".md") and anchor not in anchors(read(full)):
            yield f"{path}: link to {target}: no such heading"
    for name in PATH.findall(without_code):
        if not os.path.exists(os.path.join(ROOT, name)):
            yield f"{path}: names {name}: no such file"


def cases(path):
    """Names of the doctest cases in a source."""
    return {"".join(re.findall(r'"((?:[^"\\]|\\.)*)"', name)) for name in CASE.findall(read(path))}


def missing_tests(path):
    """Tests that a document names and that are not there."""
    for file, case in NAMED_TEST.findall(read(path)):
        if not os.path.exists(os.path.join(ROOT, file)) or case not in cases(file):
            yield f'{path}: names the test "{case}" of {file}: no such test'


def missing_faults():
    """Faults without a test in the table of docs/durability.md."""
    rows = dict(re.findall(r"^\| (\d+) \|(.*)$", read(DURABILITY), re.MULTILINE))
    for fault in FAULTS:
        if not NAMED_TEST.search(rows.get(str(fault), "")):
            yield f"{DURABILITY}: no test is named for fault {fault}"


def settings(folder):
    """What docs/settings.md has to say."""
    parts = ["# Settings\n\nPrinted by the programs (`--help-markdown`), kept equal by a check. A "
             "setting comes from the file\ngiven with `--config` or from `--set key=value`; the "
             "latter wins. An unknown key is an error.\n"]
    for daemon in DAEMONS:
        run = subprocess.run([os.path.join(folder, daemon), "--help-markdown"], text=True,
                             capture_output=True, timeout=20)
        if run.returncode or not run.stdout.strip():
            raise RuntimeError(f"{daemon} --help-markdown: status {run.returncode} {run.stderr}")
        parts.append(f"\n## {daemon}\n\n{run.stdout.strip()}\n")
    return "".join(parts)


def settings_problems(folder, write):
    try:
        wanted = settings(folder)
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        return [f"{SETTINGS}: {error}"]
    if write:
        with open(os.path.join(ROOT, SETTINGS), "w", encoding="utf-8") as file:
            file.write(wanted)
    if not os.path.exists(os.path.join(ROOT, SETTINGS)) or read(SETTINGS) != wanted:
        return [f"{SETTINGS}: differs from --help-markdown; run tools/docs_gate.py --write"]
    return []


def main(arguments):
    write = "--write" in arguments
    folders = [a for a in arguments if a != "--write"]
    folder = folders[0] if folders else os.path.join(ROOT, "build/release/bin")
    problems = settings_problems(folder, write)
    for path in sorted(documents()):
        problems.extend(broken_links(path))
        problems.extend(missing_tests(path))
    problems.extend(missing_faults())
    for problem in problems:
        print(problem)
    print(f"docs gate: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
