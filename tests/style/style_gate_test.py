#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/style_gate.py finds what it is there to find, and nothing in sound code."""

import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools"))
import junit_counts  # noqa: E402
import style_gate  # noqa: E402

HEADER = "// SPDX-License-Identifier: Apache-2.0\n#pragma once\n\n"
SOURCE = "// SPDX-License-Identifier: Apache-2.0\n"


class StyleGateTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, path, text):
        full = os.path.join(self.folder.name, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def found(self, files):
        """The findings over these files as (path, line, rule), dead files aside."""
        for path, text in files.items():
            self.write(path, text)
        return [(f.path, f.line, f.rule) for f in style_gate.check(self.folder.name)
                if f.rule != "dead file"]

    def texts(self, files):
        self.found(files)
        return [f.text for f in style_gate.check(self.folder.name) if f.rule != "dead file"]

    def header(self, body):
        return self.found({"storage/a.h": HEADER + body})

    def source(self, body, path="storage/a.cc"):
        return self.found({path: SOURCE + body})

    def test_a_sound_header_has_no_findings(self):
        self.assertEqual([], self.header(
            "namespace gantry {\n\n/// A log.\nclass Log {\npublic:\n    Log() = default;\n"
            "    int size() const noexcept;\n\n    /// Opens it.\n    static Log open(int at);\n\n"
            "private:\n    void hidden(int x);\n    int x_ = 0;\n};\n\n}  // namespace gantry\n"))

    def test_a_missing_licence_and_guard_are_found(self):
        self.assertEqual([("storage/a.h", 1, "spdx"), ("storage/a.h", 2, "spdx")],
                         self.found({"storage/a.h": "int f();  ///< f\n"})[:2])

    def test_a_semicolon_in_the_name_of_a_test_is_found(self):
        case = 'TEST_CASE("one, two") {}\nTEST_CASE_FIXTURE(A, "one"\n    "; two") {}\n'
        self.assertEqual([("tests/a_test.cc", 3, "test name")],
                         self.source(case, "tests/a_test.cc"))

    def test_an_undocumented_type_is_found(self):
        self.assertEqual([("storage/a.h", 4, "documentation")], self.header("struct Log {};\n"))

    def test_an_undocumented_enum_is_found(self):
        self.assertEqual([("storage/a.h", 4, "documentation")],
                         self.header("enum class Kind { kOne };\n"))

    def test_an_undocumented_public_function_is_found(self):
        self.assertEqual(
            [("storage/a.h", 7, "documentation")],
            self.header("/// A log.\nclass Log {\npublic:\n    int append(int bytes);\n};\n"))

    def test_private_functions_and_members_need_no_comment(self):
        self.assertEqual([], self.header(
            "/// A log.\nclass Log {\n    int append(int bytes);\n"
            "    std::map<int, int> m_{};\n};\n"))

    def test_a_comment_covers_the_group_below_it_and_no_more(self):
        self.assertEqual([("storage/a.h", 8, "documentation")],
                         self.header("/// Both.\nint f(int x);\nint g(int x);\n\nint h(int x);\n"))

    def test_a_public_section_after_a_nested_type_is_still_public(self):
        self.assertEqual(
            [("storage/a.h", 11, "documentation")],
            self.header("/// A.\nclass A {\npublic:\n    /// B.\n    struct B {\n"
                        "        int x = 0;\n    };\n    int f(int x);\n};\n"))

    def test_a_specialisation_is_a_type_and_not_a_long_function(self):
        body = "/// F.\ntemplate <class R, class... A>\nclass F<R(A...)> {\n" + "    int x_;\n" * 80
        self.assertEqual([], self.header(body + "};\n"))

    def test_a_long_function_is_found_and_a_long_class_is_not(self):
        body = "int f() {\n" + "    ++x;\n" * 60 + "}\n"
        self.assertEqual([("storage/a.cc", 2, "function length")], self.source(body))
        self.assertEqual([], self.source("int f() {\n" + "    ++x;\n" * 58 + "}\n"))

    def test_a_long_member_function_inside_an_anonymous_namespace_is_found(self):
        body = ("namespace {\nclass A {\npublic:\n    int f() const {\n" + "        ++x;\n" * 70 +
                "    }\n};\n}  // namespace\n")
        self.assertEqual([("storage/a.cc", 5, "function length")], self.source(body))

    def test_test_cases_are_measured_and_suites_are_not(self):
        case = 'TEST_CASE("a") {\n' + "    ++x;\n" * 40 + "}\n"
        suite = 'TEST_SUITE("s") {\n%s}\n'
        self.assertEqual([], self.source(suite % (case + case)))
        self.assertEqual([("storage/a.cc", 3, "function length")],
                         self.source(suite % ('TEST_CASE("a") {\n' + "    ++x;\n" * 60 + "}\n")))

    def test_file_length_caps_differ_by_kind(self):
        line = "// line\n"
        self.assertEqual(["file length"], [r for _, _, r in self.header(line * 250)])
        self.assertIn("501 lines, at most 500", self.texts({"storage/a.cc": SOURCE + line * 500}))
        self.write("storage/a.h", HEADER)
        self.assertNotIn("file length", [r for _, _, r in self.source(line * 470)])
        self.assertNotIn("file length", [r for _, _, r in self.found(
            {"tests/a_test.cc": SOURCE + line * 590})])

    def test_long_lines_are_found(self):
        line = "// " + "x" * 100 + "\n"
        self.assertEqual([("storage/a.cc", 2, "line length")], self.source(line))

    def test_banned_calls_are_found(self):
        for call in ("sprintf(b, f);", "strcpy(a, b);", "int x = rand();", "usleep(3);", "gets(b);",
                     "auto* p = new Log;", "    delete p;", 'std::cout << "x";'):
            with self.subTest(call):
                self.assertEqual(["banned call"], [r for _, _, r in self.source(call + "\n")])

    def test_banned_words_in_comments_and_strings_are_not_calls(self):
        self.assertEqual([], self.source(
            '// a new segment; delete nothing; sprintf(\nauto s = "new x; usleep(1)";\n'
            "auto r = R\"(delete p; rand())\";\nLog(const Log&) = delete;\nsnprintf(b, n, f);\n"
            "::new (at) Log;\nreturn std::unique_ptr<Log>(new Log(1));\n"
            "std::unique_ptr<Log> log(new Log);\nlog.reset(new Log);\n"
            "auto n = 1'000'000; auto k = std::make_unique<Log>();\n"))

    def test_programs_may_print(self):
        for path in ("tools/a.cc", "broker/broker_main.cc"):
            self.assertEqual([], self.source('std::cout << "x";\n', path))

    def test_sleeping_is_banned_in_tests_only(self):
        call = "std::this_thread::sleep_for(ms);\n"
        self.assertEqual(["banned call"], [r for _, _, r in self.source(call, "tests/a_test.cc")])
        self.assertEqual([], self.source(call[:-1] + "  // sleeps: measures an idle thread\n",
                                         "tests/a_test.cc"))
        self.assertEqual([], self.source(call))

    def test_using_namespace_is_banned_in_headers_only(self):
        self.assertEqual([("storage/a.h", 4, "banned call")], self.header("using namespace std;\n"))
        self.write("storage/a.h", HEADER)
        self.assertEqual([], self.source("using namespace std::chrono_literals;\n"))

    def test_includes_that_break_the_layering_are_found(self):
        for path, include in (("storage/a.cc", '"../broker/a.h"'),
                              ("broker/a.cc", "<event2/event.h>"),
                              ("broker/a.cc", "<spdlog/spdlog.h>"),
                              ("client/producer.h", '"a.pb.h"'), ("storage/a.cc", "<format>")):
            with self.subTest(include):
                start = HEADER if path.endswith(".h") else SOURCE
                files = {path: start + f"#include {include}\n"}
                self.assertEqual(["include"], [r for _, _, r in self.found(files)])
                self.write(path, start)

    def test_unfinished_work_is_found(self):
        for word in ("TODO", "FIXME", "for now"):
            with self.subTest(word):
                self.assertEqual(["word"], [r for _, _, r in self.source(f"// {word} x\n")])

    def test_a_suppression_names_its_check(self):
        self.assertEqual(["suppression"], [r for _, _, r in self.source("f();  // NOLINT\n")])
        self.assertEqual([], self.source("f();  // NOLINT(bugprone-x): why\n"))

    def test_a_file_nobody_builds_or_includes_is_dead(self):
        self.write("storage/CMakeLists.txt",
                   "# SPDX-License-Identifier: Apache-2.0\ngantry_room(SOURCES used.cc)\n")
        for path, text in (("storage/used.cc", SOURCE + '#include "storage/used.h"\n'),
                           ("storage/used.h", HEADER), ("storage/left.cc", SOURCE),
                           ("storage/left.h", HEADER)):
            self.write(path, text)
        self.assertEqual({"storage/left.cc", "storage/left.h"},
                         {f.path for f in style_gate.check(self.folder.name)})

    def test_includes_are_resolved_against_the_include_roots(self):
        self.write("tools/CMakeLists.txt",
                   "# SPDX-License-Identifier: Apache-2.0\nadd_library(cli cli/run.cc)\n")
        for path, text in (("tools/cli/run.cc", SOURCE + '#include "cli/run.h"\n'),
                           ("tools/cli/run.h", HEADER), ("tools/cli/left.h", HEADER),
                           ("benchmarks/bench/left.h", HEADER),
                           ("storage/cli/run.h", HEADER)):
            self.write(path, text)
        self.assertEqual({"tools/cli/left.h", "benchmarks/bench/left.h", "storage/cli/run.h"},
                         {f.path for f in style_gate.check(self.folder.name)})

    def test_folders_and_common_have_a_size(self):
        files = {f"common/f{n}.h": HEADER for n in range(26)}
        self.assertEqual({("common", 0, "folder"), ("common", 0, "common size")},
                         set(self.found(files)))

    def test_a_file_called_util_is_found(self):
        self.assertEqual(["file name"], [r for _, _, r in self.source("", "storage/log_util.cc")])


class JunitCountsTest(unittest.TestCase):
    def count(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(text)
            file.flush()
            self.printed = io.StringIO()
            with contextlib.redirect_stdout(self.printed):
                return junit_counts.counts(file.name)

    def test_failed_and_unrun_tests_do_not_pass(self):
        self.assertEqual((1, 2), self.count(
            '<testsuite><testcase name="a" status="run"/><testcase name="b" status="fail"/>'
            '<testcase name="c" status="notrun"/></testsuite>'))

    def test_only_what_is_listed_may_say_that_it_was_not_run(self):
        listed = sorted(junit_counts.excused_names())[0]

        def case(name, output, status="run"):
            return (f'<testcase name="{name}" status="{status}"><system-out>{output}</system-out>'
                    '</testcase>')

        count = "<testsuite>%s</testsuite>"
        self.assertEqual((0, 0), self.count(count % case(listed, "not run: no strace\nmore")))
        self.assertEqual((0, 1), self.count(count % case("process/other", "not run: no strace")))
        self.assertEqual((0, 1), self.count(count % case(
            listed, "not run: x\nStatus: FAILURE!", "fail")))
        self.assertEqual((0, 1), self.count(count % case(listed, "", "fail")))
        self.assertEqual((1, 0), self.count(count % case(listed, "it was not run: never")))

    def test_what_failed_is_shown_with_the_end_of_its_output(self):
        self.count('<testsuite><testcase name="good" status="run"><system-out>fine</system-out>'
                   '</testcase><testcase name="bad" status="fail"><system-out>'
                   + "".join(f"line {i}\n" for i in range(200)) +
                   '</system-out></testcase></testsuite>')
        lines = self.printed.getvalue().splitlines()
        self.assertEqual("== failed: bad", lines[0])
        self.assertEqual(["line 50", "line 199"], [lines[1], lines[-1]])

    def test_a_missing_or_broken_file_is_a_failure(self):
        self.assertEqual((0, 1), junit_counts.counts("/nowhere.xml"))
        self.assertEqual((0, 1), self.count("<testsuite>"))


if __name__ == "__main__":
    unittest.main()
