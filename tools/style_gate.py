#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of this code base that no compiler checks. Run: tools/style_gate.py [ROOT]

Prints one line a finding, `path:line: rule: what is wrong`, and exits 1 if there is any.
A rule is a function that yields findings; RULES at the end lists them all. Widths and layout
belong to clang-format, names and complexity to clang-tidy.
"""

import os
import re
import sys
from collections import Counter, namedtuple

ROOMS = ("common", "protocol", "storage", "filter", "nameserver", "client", "broker", "tools",
         "benchmarks")
CODE_FOLDERS = ROOMS + ("tests",)
PROGRAMS = ("tools/", "benchmarks/", "client/examples/")
# Folders that quoted includes are resolved against: a room's own root shows it under its full path.
INCLUDE_ROOTS = ("", "benchmarks/", "tools/")
SKIPPED_FOLDERS = {".git", "build", ".cache", "__pycache__", "target", "corpus", "golden"}

HEADER_LINES = 250
SOURCE_LINES = 500
TEST_LINES = 600
FUNCTION_LINES = 60
COLUMNS = 100
FILES_PER_FOLDER = 25
COMMON_HEADERS = 16
COMMON_LINES = 2620

Finding = namedtuple("Finding", "path line rule text")

# (rule, pattern over code without comments and strings, where it applies, why)
BANNED = (
    ("sprintf", r"\bv?sprintf\s*\(", "all", "has no bound: use std::to_string, fmt or snprintf"),
    ("strcpy", r"\bstr(cpy|cat)\s*\(", "all", "has no bound: use std::string"),
    ("gets", r"\bgets\s*\(", "all", "has no bound"),
    ("rand", r"\bs?rand\s*\(", "all", "takes no seed from the caller: use common/random.h"),
    ("usleep", r"\busleep\s*\(", "all", "wait for a condition instead"),
    ("sleep in a test", r"\bsleep(_for|_until)?\s*\(", "tests",
     "wait for a condition, or say why in a '// sleeps: ...'"),
    ("using namespace", r"\busing\s+namespace\b", "headers", "leaks into every includer"),
    ("std::cout in a library", r"\bstd::(cout|cerr|clog)\b", "libraries", "use common/log.h"),
    ("naked new", r"(?<!_ptr<>\()\bnew\b(?!\s*\()", "all", "use std::make_unique"),
    ("naked delete", r"(?<!=)\s\bdelete\b(?!\s*;)", "all", "use std::unique_ptr"),
)
BANNED_EXCEPT = {
    ("naked new", "common/unique_function.h"),
    ("naked delete", "common/unique_function.h"),
    ("sleep in a test", "tests/harness/wait.cc"),
}

# (pattern over an #include line, folders where it is allowed, why)
INCLUDES = (
    (r'"[^"]*\.\./', (), "reaches around the include roots that enforce the layering"),
    (r"<event2/", ("protocol/net/", "tests/net/"), "libevent stays inside protocol/net"),
    (r"<spdlog/", ("common/log.cc",), "log through common/log.h"),
    (r"<(format|ranges|expected)>", (), "not in both compilers of Debian 12"),
)
CLIENT_PUBLIC_BANNED = r"<(event2|google|spdlog)/|\.pb\.h"

WORDS = (
    (r"\b(TODO|FIXME|XXX|HACK)\b", "finish it, or write an issue"),
    (r"\b(placeholder|work in progress|not implemented|for now)\b", "finish it, or say what is"),
)


class Source:
    """One file: its text, its lines, and its code with comments and strings blanked out."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.lines = self.text.split("\n")
        self.is_header = path.endswith(".h")
        self.is_cpp = path.endswith((".h", ".cc"))
        self.is_test = path.startswith("tests/")
        self.code = blank(self.text) if self.is_cpp else self.text
        self.code_lines = self.code.split("\n")

    @property
    def line_count(self):
        return self.text.count("\n")


TOKENS = re.compile(
    r'//[^\n]*|/\*.*?\*/|(?:u8|[uUL])?R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"'
    r"|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'", re.DOTALL)


def blank(text):
    """Comments and literals become spaces of equal length; #include paths stay."""

    def spaces(match):
        token = match.group(0)
        start = text.rfind("\n", 0, match.start()) + 1
        if token.startswith('"') and text[start:match.start()].lstrip().startswith("#include"):
            return token
        return re.sub(r"[^\n]", " ", token)

    return TOKENS.sub(spaces, text)


# ---- rules over one file ---------------------------------------------------------------------


def spdx(source):
    first = source.lines[0]
    if first.startswith("#!") and len(source.lines) > 1:
        first = source.lines[1]
    if "SPDX-License-Identifier: Apache-2.0" not in first:
        yield 1, "the first line names no SPDX licence"
    if source.is_header and "#pragma once" not in source.lines[1:2]:
        yield 2, "the second line of a header is #pragma once"


def file_length(source):
    if not source.is_cpp:
        return
    cap = TEST_LINES if source.is_test else HEADER_LINES if source.is_header else SOURCE_LINES
    if source.line_count > cap:
        yield 1, f"{source.line_count} lines, at most {cap}"


def line_length(source):
    for number, line in enumerate(source.lines, 1):
        if len(line) > COLUMNS and not (source.is_cpp and "NOLINT" in line):
            yield number, f"{len(line)} columns, at most {COLUMNS}"


def function_length(source):
    if not source.is_cpp:
        return
    for item in outline(source):
        length = item.end - item.line + 1
        if item.kind == "function" and length > FUNCTION_LINES:
            name = function_name(item.head)
            yield item.line, f"{name} has {length} lines, at most {FUNCTION_LINES}"


def banned_calls(source):
    if not source.is_cpp:
        return
    is_program = source.path.endswith("_main.cc") or source.path.startswith(PROGRAMS)
    for rule, pattern, where, why in BANNED:
        applies = {
            "all": True,
            "tests": source.is_test,
            "headers": source.is_header,
            "libraries": not (source.is_test or is_program),
        }[where]
        if not applies or (rule, source.path) in BANNED_EXCEPT:
            continue
        for number, line in enumerate(source.code_lines, 1):
            if line.lstrip().startswith("#"):
                continue
            # Factories own objects with private constructors: unique_ptr<T>(new T).
            line = re.sub(r"_ptr<[^()]*>(\s*\w+)?\(|\.reset\(", "_ptr<>(", line)
            excused = where == "tests" and "// sleeps: " in source.lines[number - 1]
            if re.search(pattern, line) and not excused:
                yield number, f"{rule}: {why}"


def includes(source):
    if not source.is_cpp:
        return
    for number, line in enumerate(source.code_lines, 1):
        if not re.match(r"\s*#\s*include\b", line):
            continue
        for pattern, allowed, why in INCLUDES:
            if re.search(pattern, line) and not source.path.startswith(allowed):
                yield number, f"{line.strip()}: {why}"
        if source.path.startswith("client/") and source.is_header and is_public(source):
            if re.search(CLIENT_PUBLIC_BANNED, line):
                yield number, f"{line.strip()}: users of the client must not need its libraries"


def is_public(source):
    return os.path.basename(source.path) in (
        "client.h", "message.h", "producer.h", "consumer.h", "admin_client.h", "push_consumer.h",
        "pull_consumer.h")


def words(source):
    for number, line in enumerate(source.lines, 1):
        for pattern, why in WORDS:
            found = re.search(pattern, line)
            if found and not source.path.startswith(("tools/style_gate", "tests/style/")):
                yield number, f"'{found.group(0)}': {why}"


def suppressions(source):
    """NOLINT names its check."""
    if not source.is_cpp:
        return
    for number, line in enumerate(source.lines, 1):
        if re.search(r"NOLINT(NEXTLINE|BEGIN|END)?(?!\w)(?!\()", line):
            yield number, "NOLINT names the check it silences"


# ---- outline and documentation ---------------------------------------------------------------

# A declaration or definition outside function bodies. kind: scope (namespace), type, function,
# declaration; line and end: first and last line; public: seen by includers.
Item = namedtuple("Item", "kind head line end public")
Open = namedtuple("Open", "kind head start parens")

MARKS = re.compile(r"[{};()]|\b(?:public|private|protected)\s*:(?!:)")
ANNOTATION = re.compile(r"(GANTRY_\w+|alignas|noexcept)\s*\([^()]*(\([^()]*\))?\)")
NOT_FUNCTIONS = {"if", "for", "while", "switch", "catch", "return", "sizeof", "static_assert",
                 "decltype", "requires"}
TYPE = r"\b(?:class|struct|union|enum(?:\s+class|\s+struct)?)\b"


def outline(source):
    """The items of one file, types before their members, functions at their closing brace."""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  source.code, flags=re.MULTILINE)
    stack, access = [], []
    start, parens = 0, 0

    def item(kind, head, began, at):
        began += len(code[began:at]) - len(code[began:at].lstrip())
        public = all(level == "public" for level in access)
        return Item(kind, strip(head), code.count("\n", 0, began) + 1,
                    code.count("\n", 0, at) + 1, public)

    for match in MARKS.finditer(code):
        at, mark = match.start(), match.group(0)
        in_body = bool(stack) and stack[-1].kind in ("function", "value")
        if mark == "{":
            kind = stack[-1].kind if in_body else "value" if parens else classify(code[start:at])
            stack.append(Open(kind, code[start:at], start, parens))
            parens = 0
            if kind in ("scope", "type"):
                yield item(kind, stack[-1].head, start, at)
                access.append(first_access(stack[-1]))
                start = at + 1
        elif mark == "}" and stack:
            opened = stack.pop()
            parens = opened.parens
            if opened.kind in ("scope", "type"):
                access.pop()
                start = at + 1
            elif opened.kind == "function" and not (stack and stack[-1].kind == "function"):
                yield item("function", opened.head, opened.start, at)
                start = at + 1
        elif in_body:
            continue
        elif mark in "()":
            parens = max(0, parens + (1 if mark == "(" else -1))
        elif mark == ";" and not parens:
            if code[start:at].strip():
                yield item("declaration", code[start:at], start, at)
            start = at + 1
        elif mark.endswith(":") and access and not parens:
            access[-1] = mark[:-1].strip()
            start = match.end()


def strip(head):
    """The head on one line, without annotations and template arguments."""
    head = ANNOTATION.sub(" ", head)
    while True:
        shorter = re.sub(r"<[^<>]*>", "", head)
        if shorter == head:
            return re.sub(r"\s+", " ", head).strip()
        head = shorter


def classify(head):
    head = strip(head)
    if re.search(r"\bnamespace\b|^TEST_SUITE\b", head) or head == "extern":
        return "scope"
    if re.search(TYPE, head) and not re.search(r"[(=]", head):
        return "type"
    return "function" if ")" in head and not re.search(r"^[^(]*[^=!<>]=[^=]|=$", head) else "value"


def first_access(opened):
    if opened.kind == "scope":
        hidden = re.search(r"namespace\s*$|\b(detail|internal)\b", strip(opened.head))
        return "private" if hidden else "public"
    return "private" if re.search(r"(?<!enum )\bclass\b", strip(opened.head)) else "public"


def function_name(head):
    found = re.search(r"(operator\s*(?:\(\)|[^\s(]+)|~?\w+)\s*\(", head)
    return found.group(1) if found and found.group(1) not in NOT_FUNCTIONS else None


def documentation(source):
    """Every type and every public function in a room's header has a /// comment: above it, above
    the unbroken group of declarations it stands in, or behind it. Exempt is what explains itself:
    constructors, destructors, operators and overrides, getters, inline bodies of one statement."""
    if not source.is_header or not source.path.startswith(ROOMS):
        return
    types = set()
    for item in outline(source):
        name = must_explain(item, types)
        if item.kind == "type" and name:
            types.add(name)
        if name and item.public and not documented(source, item):
            yield item.line, f"{name} has no /// comment"


def must_explain(item, types):
    """The name that needs a comment, or None."""
    if item.kind == "type":
        found = re.search(TYPE + r"\s*([\w:]+)", item.head)
        return found.group(1) if found else None
    if item.kind not in ("function", "declaration"):
        return None
    if re.search(r"\b(using|typedef|friend|override)\b|= ?(default|delete)$", item.head):
        return None
    before = item.head.split("(")[0]
    name = function_name(item.head)
    if not name or name in types or name.startswith(("~", "operator")) or "=" in before:
        return None
    getter = re.search(r"\(\s*\) const( &)?( noexcept)?( = 0)?$", item.head)
    short_body = item.kind == "function" and item.end - item.line <= 2
    member_call = not re.search(r"\s", before.strip())
    return None if getter or short_body or member_call else name


def documented(source, item):
    if any("///" in line for line in source.lines[item.line - 1:item.end]):
        return True
    for line in reversed(source.lines[:item.line - 1]):
        line = line.strip()
        if line.startswith("///"):
            return True
        if not line or line.endswith((":", "{")) or line.startswith("#"):
            return False
    return False


# ---- rules over the tree -----------------------------------------------------------------------


def folders(tree):
    counts = Counter(os.path.dirname(source.path) for source in tree.sources if source.is_cpp)
    for folder, count in sorted(counts.items()):
        if count > FILES_PER_FOLDER:
            yield Finding(folder, 0, "folder", f"{count} sources, at most {FILES_PER_FOLDER}")


def common_size(tree):
    headers = [s for s in tree.sources if s.path.startswith("common/") and s.is_header]
    lines = sum(s.line_count for s in tree.sources if s.path.startswith("common/") and s.is_cpp)
    if len(headers) > COMMON_HEADERS:
        text = f"{len(headers)} headers, at most {COMMON_HEADERS}"
        yield Finding("common", 0, "common size", text)
    if lines > COMMON_LINES:
        yield Finding("common", 0, "common size", f"{lines} lines, at most {COMMON_LINES}")


def dead_files(tree):
    """Every source is named by a CMakeLists.txt; every header is included or listed there."""
    listed = set()
    for path, text in tree.cmake.items():
        folder = os.path.dirname(path)
        for name in re.findall(r"[\w./${}-]+\.(?:cc|h)\b", text):
            name = name.replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
            if name.startswith("${CMAKE_SOURCE_DIR}/"):
                listed.add(name.removeprefix("${CMAKE_SOURCE_DIR}/"))
            else:
                listed.add(os.path.normpath(os.path.join(folder, name)))
    paths = {source.path for source in tree.sources}
    included = set()
    for source in tree.sources:
        if source.is_cpp:
            for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', source.code, re.MULTILINE):
                included.update([root + name for root in INCLUDE_ROOTS if root + name in paths][:1])
    for source in tree.sources:
        if source.is_cpp and source.path not in listed and not (
                source.is_header and source.path in included):
            yield Finding(source.path, 1, "dead file", "in no CMakeLists.txt, included by nobody")


def file_names(tree):
    for source in tree.sources:
        if source.is_cpp and re.search(r"(^|/)\w*utils?\w*(/|\.)", source.path):
            yield Finding(source.path, 1, "file name", "'util' says nothing: name what it does")


def test_names(source):
    """CMake takes a semicolon for the end of a name: ctest would run neither half."""
    if not source.is_test or not source.is_cpp:
        return
    names = r'TEST_CASE\w*\([^"()]*((?:"(?:[^"\\]|\\.)*"\s*)+)'
    for found in re.finditer(names, source.text):
        if ";" in found.group(1):
            line = source.text.count("\n", 0, found.start()) + 1
            yield line, "a semicolon: ctest would not run it"


FILE_RULES = {
    "spdx": spdx,
    "file length": file_length,
    "line length": line_length,
    "function length": function_length,
    "banned call": banned_calls,
    "include": includes,
    "word": words,
    "suppression": suppressions,
    "documentation": documentation,
    "test name": test_names,
}
TREE_RULES = (folders, common_size, dead_files, file_names)


class Tree:
    """The files the rules apply to."""

    def __init__(self, root):
        self.sources, self.cmake = [], {}
        for folder, names, files in os.walk(root):
            names[:] = sorted(n for n in names if n not in SKIPPED_FOLDERS)
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), root)
                if name == "CMakeLists.txt" or name.endswith(".cmake"):
                    with open(os.path.join(root, path), encoding="utf-8") as file:
                        self.cmake[path] = file.read()
                if is_ours(root, path):
                    self.sources.append(Source(root, path))


def is_ours(root, path):
    top = path.split("/")[0]
    if path.endswith((".h", ".cc")):
        return top in CODE_FOLDERS
    if path.endswith((".py", ".sh", ".cmake", ".proto", ".java", ".go", "CMakeLists.txt")):
        return True
    return top in ("script", ".ci") and os.access(os.path.join(root, path), os.X_OK)


def check(root):
    """All findings, in the order of the files."""
    tree = Tree(root)
    for source in tree.sources:
        for rule, run in FILE_RULES.items():
            for line, text in run(source):
                yield Finding(source.path, line, rule, text)
    for run in TREE_RULES:
        yield from run(tree)


def main(arguments):
    own_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    findings = list(check(arguments[0] if arguments else own_root))
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}")
    print(f"style gate: {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
