// SPDX-License-Identifier: Apache-2.0
#include "common/settings.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace gantry {
namespace {

/// One setting of every kind, and a TOML file to load them from.
class Fixture {
public:
    Fixture() {
        table.add("name", &name, "A name.");
        table.add("listen.port", &port, {0, 65'535}, "Where to listen.");
        table.add("store.segment_bytes", &segment_bytes, {4'096, INT64_MAX}, "Size of a segment.");
        table.add("store.flush_interval_ms", &interval_ms, {1, 60'000}, "Longest wait.");
        table.add("store.spin_us", &spin_us, {0, 1'000'000}, "How long to poll.");
        table.add_choice("store.flush", &flush, {"async", "sync"}, "When a send is answered.");
        table.add("topic.auto_create", &auto_create, "Make unknown topics.");
        table.add("nameserver.addresses", &addresses, "Where to register.");

        std::string pattern = std::filesystem::temp_directory_path() / "gantry-settings-XXXXXX";
        directory = ::mkdtemp(pattern.data());
        path = directory + "/gantry.toml";
    }

    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    ~Fixture() {
        std::error_code ignored;
        std::filesystem::remove_all(directory, ignored);
    }

    std::string set_error(std::string_view assignment) {
        const Status status = table.set(assignment);
        return status ? "" : to_string(status.error());
    }

    /// The error of loading `content`, with the path cut off its front.
    std::string load_error(const std::string& content) {
        std::ofstream(path) << content;
        const Status status = table.load_file(path);
        if (status) {
            return "";
        }
        std::string text = to_string(status.error());
        const std::size_t at = text.find(path);
        return at == std::string::npos ? text : text.erase(at, path.size());
    }

    std::string name = "default";
    std::int64_t port = 9'876;
    std::int64_t segment_bytes = std::int64_t{1} << 30U;
    std::int64_t interval_ms = 500;
    std::int64_t spin_us = 0;
    std::string flush = "async";
    bool auto_create = false;
    std::vector<std::string> addresses = {"127.0.0.1:9876"};
    SettingTable table;
    std::string directory;
    std::string path;
};

}  // namespace

TEST_SUITE("common/settings") {
    TEST_CASE_FIXTURE(Fixture, "key=value sets every kind") {
        CHECK(set_error("name = a b=c ") == "");
        CHECK(set_error("listen.port=0") == "");
        CHECK(set_error("store.segment_bytes=64MiB") == "");
        CHECK(set_error("store.flush_interval_ms=2s") == "");
        CHECK(set_error("store.spin_us=3 ms") == "");
        CHECK(set_error("store.flush=sync") == "");
        CHECK(set_error("topic.auto_create=true") == "");
        CHECK(set_error("nameserver.addresses=a:1, b:2,") == "");
        CHECK(name == "a b=c");
        CHECK(port == 0);
        CHECK(segment_bytes == 64 * 1'048'576);
        CHECK(interval_ms == 2'000);
        CHECK(spin_us == 3'000);
        CHECK(flush == "sync");
        CHECK(auto_create);
        CHECK(addresses == std::vector<std::string>{"a:1", "b:2"});
        CHECK(set_error("nameserver.addresses=") == "");
        CHECK(addresses.empty());
    }

    TEST_CASE_FIXTURE(Fixture, "an unknown key names its nearest known one") {
        CHECK(set_error("listen.prot=1") ==
              "refused: unknown setting \"listen.prot\"; did you mean \"listen.port\"?");
        CHECK(set_error("port=1") ==
              "refused: unknown setting \"port\"; did you mean \"listen.port\"?");
        CHECK(set_error("topic.autocreate=1") ==
              "refused: unknown setting \"topic.autocreate\"; did you mean \"topic.auto_create\"?");
        CHECK(set_error("zzzzzzzzzzzzzzzz=1") == "refused: unknown setting \"zzzzzzzzzzzzzzzz\"");
        CHECK(set_error("listen.port") == "refused: \"listen.port\": expected key=value");
    }

    TEST_CASE_FIXTURE(Fixture, "a bad value names key, value and what is allowed") {
        CHECK(set_error("listen.port=65536") ==
              "refused: listen.port = \"65536\": allowed is 0 to 65535");
        CHECK(set_error("listen.port=-1") ==
              "refused: listen.port = \"-1\": allowed is 0 to 65535");
        CHECK(set_error("listen.port=12x") == "refused: listen.port = \"12x\": not a whole number");
        CHECK(set_error("listen.port=") == "refused: listen.port = \"\": not a whole number");
        CHECK(set_error("listen.port=99999999999999999999") ==
              "refused: listen.port = \"99999999999999999999\": allowed is 0 to 65535");
        CHECK(set_error("store.segment_bytes=1KiB") ==
              "refused: store.segment_bytes = \"1KiB\": allowed is at least 4KiB");
        CHECK(set_error("store.segment_bytes=1MB") ==
              "refused: store.segment_bytes = \"1MB\": not a whole number, optionally with KiB, "
              "MiB, GiB or TiB");
        CHECK(set_error("store.segment_bytes=9999999999TiB") ==
              "refused: store.segment_bytes = \"9999999999TiB\": allowed is at least 4KiB");
        CHECK(set_error("store.flush_interval_ms=2m") ==
              "refused: store.flush_interval_ms = \"2m\": allowed is 1ms to 1m");
        CHECK(set_error("store.flush_interval_ms=2KiB") ==
              "refused: store.flush_interval_ms = \"2KiB\": not a whole number, optionally with "
              "ms, s, m or h");
        CHECK(set_error("store.spin_us=1h") ==
              "refused: store.spin_us = \"1h\": not a whole number, optionally with us, ms or s");
        CHECK(set_error("store.flush=snyc") ==
              "refused: store.flush = \"snyc\": allowed is async, sync");
        CHECK(set_error("topic.auto_create=yes") ==
              "refused: topic.auto_create = \"yes\": allowed is true, false");
        CHECK(port == 9'876);
        CHECK(segment_bytes == std::int64_t{1} << 30U);
        CHECK(interval_ms == 500);
        CHECK(flush == "async");
    }

    TEST_CASE_FIXTURE(Fixture, "a TOML file sets every kind") {
        CHECK(load_error("name = \"n\"\n"
                         "nameserver.addresses = [\"a:1\", \"b:2\"]\n"
                         "[listen]\nport = 1\n"
                         "[store]\nsegment_bytes = \"8KiB\"\nflush_interval_ms = 7\n"
                         "flush = \"sync\"\nspin_us = \"1ms\"\n"
                         "[topic]\nauto_create = true\n") == "");
        CHECK(name == "n");
        CHECK(addresses == std::vector<std::string>{"a:1", "b:2"});
        CHECK(port == 1);
        CHECK(segment_bytes == 8'192);
        CHECK(interval_ms == 7);
        CHECK(spin_us == 1'000);
        CHECK(flush == "sync");
        CHECK(auto_create);
    }

    TEST_CASE_FIXTURE(Fixture, "an error in a file names file, line and key") {
        CHECK(load_error("\n[listen]\nprot = 1\n") ==
              "refused: :3: unknown setting \"listen.prot\"; did you mean \"listen.port\"?");
        CHECK(load_error("listen = 1\n") ==
              "refused: :1: unknown setting \"listen\"; did you mean \"listen.port\"?");
        CHECK(load_error("[listen]\nport = \"1\"\n") ==
              "refused: :2: listen.port: expected integer, found string");
        CHECK(load_error("[listen]\nport = 70000\n") ==
              "refused: :2: listen.port = 70000: allowed is 0 to 65535");
        CHECK(load_error("[listen.port]\na = 1\n") ==
              "refused: :1: listen.port: expected integer, found table");
        CHECK(load_error("name = 3\n") == "refused: :1: name: expected string, found integer");
        CHECK(load_error("name = 3.5\n") ==
              "refused: :1: name: expected string, found floating-point number");
        CHECK(load_error("name = true\n") == "refused: :1: name: expected string, found boolean");
        CHECK(load_error("name = [\"a\"]\n") == "refused: :1: name: expected string, found array");
        CHECK(load_error("name = 1979-05-27\n") ==
              "refused: :1: name: expected string, found date or time");
        CHECK(load_error("topic.auto_create = \"true\"\n") ==
              "refused: :1: topic.auto_create: expected boolean, found string");
        CHECK(load_error("nameserver.addresses = \"a:1\"\n") ==
              "refused: :1: nameserver.addresses: expected list of strings, found string");
        CHECK(load_error("nameserver.addresses = [\"a:1\", 3]\n") ==
              "refused: :1: nameserver.addresses: expected list of strings, found integer");
        CHECK(load_error("[store]\n\nflush = \"never\"\n") ==
              "refused: :3: store.flush = \"never\": allowed is async, sync");
        CHECK(load_error("[store]\nsegment_bytes = \"1\"\n") ==
              "refused: :2: store.segment_bytes = \"1\": allowed is at least 4KiB");
    }

    TEST_CASE_FIXTURE(Fixture, "a file that is no TOML is refused with its line") {
        const std::string error = load_error("[listen]\nport = = 1\n");
        CHECK_MESSAGE(error.rfind("refused: :2: ", 0) == 0, error);
        const std::string twice = load_error("name = \"a\"\nname = \"b\"\n");
        CHECK_MESSAGE(twice.rfind("refused: :2: ", 0) == 0, twice);
    }

    TEST_CASE_FIXTURE(Fixture, "a missing file is not_found, a directory is an io error") {
        const Status missing = table.load_file(directory + "/none.toml");
        REQUIRE(!missing);
        CHECK(missing.error().code == Errc::kNotFound);
        CHECK(missing.error().detail ==
              "settings file " + directory + "/none.toml: No such file or directory");
        const Status folder = table.load_file(directory);
        REQUIRE(!folder);
        CHECK(folder.error().code == Errc::kIo);
        CHECK(folder.error().detail == "settings file " + directory + ": Is a directory");
    }

    TEST_CASE_FIXTURE(Fixture, "the effective values load again as they are") {
        name = "with \"quotes\", \\ and \n";
        port = 3;
        addresses = {"x:1", "y,z"};
        auto_create = true;
        const std::string text = table.effective();
        CHECK(text ==
              "name = \"with \\\"quotes\\\", \\\\ and \\u000a\"\n"
              "\n[listen]\nport = 3\n"
              "\n[store]\nsegment_bytes = 1073741824\nflush_interval_ms = 500\nspin_us = 0\n"
              "flush = \"async\"\n"
              "\n[topic]\nauto_create = true\n"
              "\n[nameserver]\naddresses = [\"x:1\", \"y,z\"]\n");
        Fixture other;
        CHECK(other.load_error(text) == "");
        CHECK(other.table.effective() == text);
    }

    TEST_CASE_FIXTURE(Fixture, "help and Markdown name type, range, default and meaning") {
        port = 1;  // the default is the value at add
        const std::string help = table.help();
        CHECK(help.find("  listen.port  (integer, 0 to 65535; default: 9876)\n"
                        "      Where to listen.\n") != std::string::npos);
        CHECK(help.find("  store.segment_bytes  (integer, at least 4KiB; default: 1GiB)\n") !=
              std::string::npos);
        CHECK(help.find("  store.flush  (string, async, sync; default: async)\n") !=
              std::string::npos);
        const std::string markdown = table.markdown();
        CHECK(markdown.rfind("| setting | type | default | allowed | meaning |\n", 0) == 0);
        CHECK(markdown.find("| `store.flush_interval_ms` | integer | `500ms` | 1ms to 1m | "
                            "Longest wait. |\n") != std::string::npos);
        CHECK(markdown.find("| `nameserver.addresses` | list of strings | `127.0.0.1:9876` |  | "
                            "Where to register. |\n") != std::string::npos);
    }
}

}  // namespace gantry
