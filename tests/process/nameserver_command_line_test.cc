// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/daemon_process.h"
#include "tests/harness/process.h"
#include "tests/harness/programs.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <csignal>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

ProgramRun run(const std::vector<std::string>& arguments) {
    Result<ProgramRun> ran = run_program(NameserverProcess::executable(), arguments);
    REQUIRE(ran.has_value());
    return std::move(ran).value();
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("process/nameserver_command_line") {
    TEST_CASE("an unknown setting ends with 2 and names the key and the nearest one") {
        const ProgramRun unknown = run({"--set", "listen.prot=1"});
        CHECK(unknown.code == 2);
        CHECK(unknown.out == "");
        CHECK(unknown.err ==
              "gantry-nameserver: unknown setting \"listen.prot\"; did you mean "
              "\"listen.port\"?\n");
    }

    TEST_CASE("a bad value, a bad option and a stray argument end with 2") {
        const ProgramRun value = run({"--set", "listen.port=65536"});
        CHECK(value.code == 2);
        CHECK(value.err == "gantry-nameserver: listen.port = \"65536\": allowed is 0 to 65535\n");
        const ProgramRun option = run({"--bogus"});
        CHECK(option.code == 2);
        CHECK_MESSAGE(contains(option.err, "bogus"), option.err);
        const ProgramRun argument = run({"stray"});
        CHECK(argument.code == 2);
        CHECK_MESSAGE(contains(argument.err, "unexpected argument \"stray\""), argument.err);
        const ProgramRun incomplete = run({"--set"});
        CHECK(incomplete.code == 2);
        CHECK_MESSAGE(contains(incomplete.err, "set"), incomplete.err);
    }

    TEST_CASE("a settings file with an unknown key ends with 2 and names file and line") {
        const TempDirectory directory;
        const std::string path = directory.path() / "gantry.toml";
        std::ofstream(path) << "[listen]\nport = 0\n\n[http]\nprt = 0\n";
        const ProgramRun unknown = run({"--config", path});
        CHECK(unknown.code == 2);
        CHECK(unknown.err == "gantry-nameserver: " + path +
                                 ":5: unknown setting \"http.prt\"; did you mean "
                                 "\"http.port\"?\n");
        const ProgramRun missing = run({"--config", path + ".none"});
        CHECK(missing.code == 2);
        CHECK(missing.err ==
              "gantry-nameserver: settings file " + path + ".none: No such file or directory\n");
    }

    TEST_CASE("--set wins over the file, and --print-config shows what is in force") {
        const TempDirectory directory;
        const std::string path = directory.path() / "gantry.toml";
        std::ofstream(path) << "[listen]\nport = 1\naddress = \"127.0.0.1\"\n"
                               "[route]\nexpiry_ms = \"30s\"\n";
        const ProgramRun printed =
            run({"--config", path, "--set", "listen.port=2", "--print-config"});
        CHECK(printed.code == 0);
        CHECK_MESSAGE(contains(printed.out, "[listen]\naddress = \"127.0.0.1\"\nport = 2\n"),
                      printed.out);
        CHECK_MESSAGE(contains(printed.out, "[route]\nexpiry_ms = 30000\n"), printed.out);
        // What it prints is a settings file.
        std::ofstream(path) << printed.out;
        CHECK(run({"--config", path, "--print-config"}).out == printed.out);
    }

    TEST_CASE("--help, --help-markdown and --version answer and end with 0") {
        const ProgramRun help = run({"--help"});
        CHECK(help.code == 0);
        CHECK_MESSAGE(contains(help.out, "--print-config"), help.out);
        CHECK_MESSAGE(contains(help.out, "  route.expiry_ms  (integer, 1s to 24h; default: 2m)\n"),
                      help.out);
        const ProgramRun markdown = run({"--help-markdown"});
        CHECK(markdown.code == 0);
        CHECK_MESSAGE(contains(markdown.out, "| `listen.port` | integer | `9876` | 0 to 65535 | "),
                      markdown.out);
        const ProgramRun version = run({"--version"});
        CHECK(version.code == 0);
        CHECK(version.out == "gantry-nameserver 0.1.0\n");
    }

    TEST_CASE("a port in use ends with 1 and names the port") {
        const TempDirectory directory;
        NameserverProcess first(directory.path(), "first");
        REQUIRE(first.start().has_value());
        const std::string port = std::to_string(first.port());
        const ProgramRun second = run({"--set",
                                       "listen.address=127.0.0.1",
                                       "--set",
                                       "listen.port=" + port,
                                       "--set",
                                       "http.port=0"});
        CHECK(second.code == 1);
        CHECK(second.out == "");
        CHECK_MESSAGE(contains(second.err, port), second.err);
        CHECK_MESSAGE(contains(second.err, "in use"), second.err);
        const std::string http_port = std::to_string(first.http_port());
        const ProgramRun third = run({"--set", "listen.port=0", "--set", "http.port=" + http_port});
        CHECK(third.code == 1);
        CHECK_MESSAGE(contains(third.err, http_port), third.err);
    }

    TEST_CASE("a log file that cannot be opened ends with 1 and names it") {
        const TempDirectory directory;
        const std::string file = directory.path() / "file";
        std::ofstream(file) << "no directory";
        const ProgramRun unwritable = run({"--set",
                                           "listen.port=0",
                                           "--set",
                                           "http.port=0",
                                           "--set",
                                           "log.file=" + file + "/log"});
        CHECK(unwritable.code == 1);
        CHECK_MESSAGE(contains(unwritable.err, file), unwritable.err);
    }

    TEST_CASE("SIGTERM and SIGINT end it with 0") {
        const TempDirectory directory;
        for (const int signal : {SIGTERM, SIGINT}) {
            NameserverProcess nameserver(directory.path(), "nameserver");
            REQUIRE(nameserver.start().has_value());
            ::kill(nameserver.process().pid(), signal);
            const Result<ProcessExit> exit = nameserver.process().wait_exit();
            REQUIRE(exit.has_value());
            CHECK(exit->code == 0);
            CHECK(contains(nameserver.process().err(), "stopped"));
        }
    }
}

}  // namespace gantry::harness
