// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/build.h"
#include "tests/process/replication/group_case.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

constexpr const char* kLibrary = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// While it lives, programs that are started have a wall clock that can be moved as they run; the
/// clocks that only count go on.
class MovedClock {
public:
    MovedClock() : path_(directory_.path() / "offset") {
        move("+0");
        set("FAKETIME_TIMESTAMP_FILE", path_.string());
        set("FAKETIME_NO_CACHE", "1");
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        set("FAKETIME_DISABLE_SHM", "1");
        set("LD_PRELOAD", kLibrary);
    }

    MovedClock(const MovedClock&) = delete;
    MovedClock& operator=(const MovedClock&) = delete;

    ~MovedClock() {
        for (const std::string& name : names_) {
            ::unsetenv(name.c_str());
        }
    }

    void move(const std::string& by) const {
        // Another file in its place, so that nobody reads half of it.
        const std::filesystem::path next = directory_.path() / "next";
        std::ofstream(next) << by << '\n';
        std::filesystem::rename(next, path_);
    }

private:
    void set(const std::string& name, const std::string& value) {
        REQUIRE(::setenv(name.c_str(), value.c_str(), 1) == 0);
        names_.push_back(name);
    }

    TempDirectory directory_;
    const std::filesystem::path path_;
    std::vector<std::string> names_;
};

TEST_SUITE("process/replication/clock") {
    TEST_CASE("fault 19: wall clocks that jump by an hour depose nobody and delete nothing") {
        if (kIsSanitized || !std::filesystem::exists(kLibrary)) {
            say_not_run("programs with a moved clock need libfaketime, and no sanitizer");
            return;
        }
        const MovedClock clock;
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const auto before = group->status(require_master(*group));
        require_good(before);
        require_good(group->send_some(10));
        for (const char* by : {"+3600", "-3600", "+0"}) {
            CAPTURE(by);
            clock.move(by);
            const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
            while (std::chrono::steady_clock::now() < until) {
                require_good(group->send_some(3));
            }
        }
        const auto after = group->status(require_master(*group));
        require_good(after);
        CHECK(after->epoch() == before->epoch());
        CHECK(after->member() == before->member());
        require_whole(*group);
    }
}

}  // namespace
}  // namespace gantry::harness
