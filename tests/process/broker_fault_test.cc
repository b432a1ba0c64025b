// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "tests/harness/faults/loop_file_system.h"
#include "tests/harness/faults/not_run.h"
#include "tests/harness/faults/syscall_faults.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

namespace fs = std::filesystem;

using wire::ResponseCode;

/// Faults in the system calls of a thread of the broker, or of all; null, and said so, where
/// nothing can be traced.
std::unique_ptr<SyscallFaults> inject(Sender& sender,
                                      const std::string& thread,
                                      const std::string& what) {
    auto faults = SyscallFaults::attach(sender.broker.process().pid(), thread, what);
    if (!faults && faults.error().code == Errc::kDenied) {
        say_not_run(faults.error().detail);
        return nullptr;
    }
    REQUIRE_MESSAGE(faults.has_value(), (faults ? "" : to_string(faults.error())));
    return std::move(faults).value();
}

/// A disk of its own, or null, and said so, where none can be made.
std::unique_ptr<LoopFileSystem> disk_in(const TempDirectory& directory,
                                        const LoopFileSystem::Options& options) {
    auto disk = LoopFileSystem::mount(directory.path() / "loop", options);
    if (!disk) {
        say_not_run(disk.error().detail);
        return nullptr;
    }
    return std::move(disk).value();
}

Settings on(const LoopFileSystem& disk) {
    return {{"store.directory", (disk.path() / "store").string()}, {"store.flush", "sync"}};
}

/// Sends until the broker says anything but yes; what it says.
Answer send_until_refused(Sender& sender) {
    const auto client = sender.connect();
    Answer answer;
    while (sender.kept.size() < 10'000) {
        answer = sender.send_next(*client);
        if (answer.summary() != "0") {
            return answer;
        }
    }
    FAIL("10 000 messages were taken");
    return answer;
}

/// What holds once a sync has failed.
void check_poisoned(Sender& sender, const Answer& first) {
    // The one that waited for the sync, or one that came right behind it.
    CHECK_MESSAGE(
        (first.code == ResponseCode::kUnknownOutcome || first.code == ResponseCode::kReadOnly),
        first.summary());
    const auto client = sender.connect();
    for (int i = 0; i < 3; ++i) {
        const Answer later = sender.send_next(*client);
        CHECK_MESSAGE(later.code == ResponseCode::kReadOnly, later.summary());
        CHECK_MESSAGE(has(later.remark, "the log takes no writes"), later.summary());
    }
    CHECK(sender.value("gantry_store_writable") == 0);
    const auto ready = http_get(sender.broker.http_port(), "/readyz");
    REQUIRE(ready);
    CHECK(ready->status == 503);
    CHECK_MESSAGE(has(ready->body, "the log takes no writes"), ready->body);
    // Readers go on, with what was durable.
    sender.check_kept();
    CHECK(has(sender.broker.process().err(), "log became read-only"));
}

TEST_SUITE("process/broker_faults") {
    TEST_CASE("fault 1: a broker killed around its acknowledgements loses none, and none twice") {
        const char* const given = std::getenv("GANTRY_TEST_SEED");
        const std::uint64_t seed =
            given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
        CAPTURE(seed);
        Random random(seed);
        for (const char* const site : {"send.appended", "ack.durable", "ack.replied"}) {
            CAPTURE(site);
            const TempDirectory directory;
            Sender sender(directory.path(), {{"store.flush", "sync"}});
            sender.send_some(3);
            REQUIRE(sender.broker.stop());
            const std::string rule =
                std::string(site) + "=kill@" + std::to_string(1 + random.below(60));
            CAPTURE(rule);
            REQUIRE(::setenv("GANTRY_FAILPOINTS", rule.c_str(), 1) == 0);
            const Status started = sender.broker.start();
            REQUIRE(::unsetenv("GANTRY_FAILPOINTS") == 0);
            require_started(started);
            const Answer last = send_until_refused(sender);
            CHECK_FALSE(last.transport);
            CHECK(wait_until(Process::kPatience,
                             [&] { return !sender.broker.process().is_running(); }));
            require_started(sender.broker.start());
            const std::size_t acknowledged = sender.kept.size();
            sender.check_kept_and_keep_rest();
            CHECK(sender.kept.size() <= acknowledged + 1);
            sender.check_serves();
        }
    }

    TEST_CASE("fault 9: EIO from one fdatasync ends acknowledging until the restart") {
        const TempDirectory directory;
        Sender sender(directory.path(), {{"store.flush", "sync"}});
        sender.send_some(10);
        {
            const auto faults = inject(sender, "log-flush", "fdatasync:error=EIO:when=1");
            if (!faults) {
                return;
            }
            check_poisoned(sender, send_until_refused(sender));
        }
        sender.broker.kill();
        require_started(sender.broker.start());
        sender.check_kept_and_keep_rest();
        sender.check_serves();
    }

    TEST_CASE("fault 10: a disk that cannot write back keeps what it acknowledged") {
        const TempDirectory directory;
        const auto disk = disk_in(directory,
                                  {.disk_bytes = 256U << 20U,
                                   .backing_bytes = 24U << 20U,
                                   .make = {"-O", "^has_journal"}});
        if (!disk) {
            return;
        }
        Sender sender(directory.path(), on(*disk));
        check_poisoned(sender, send_until_refused(sender));
        CHECK(sender.kept.size() > 100);
        sender.broker.kill();
        // From here on the bytes are those of the device, not of the page cache.
        REQUIRE(disk->give_backing(600U << 20U));
        const Status remounted = disk->remount();
        REQUIRE_MESSAGE(remounted.has_value(), (remounted ? "" : to_string(remounted.error())));
        require_started(sender.broker.start());
        sender.check_kept_and_keep_rest();
        sender.check_serves();
        REQUIRE(sender.broker.stop());
    }

    TEST_CASE("fault 12: interrupted and short writes cost nothing") {
        const TempDirectory directory;
        Sender sender(directory.path(), {{"store.flush", "sync"}});
        sender.send_some(10);
        std::string what;
        SUBCASE("interrupted") {
            what = "pwrite64:error=EINTR:when=1+2";
        }
        // The bytes behind the seventh are written in a second call, the first seven never are.
        SUBCASE("short") {
            what = "pwrite64:retval=7:when=1+3";
        }
        SUBCASE("none at all") {
            what = "pwrite64:error=EAGAIN:when=1+2";
        }
        {
            const auto faults = inject(sender, "", what);
            if (!faults) {
                return;
            }
            sender.send_some(200);
            sender.check_kept();
        }
        sender.broker.kill();
        require_started(sender.broker.start());
        sender.check_kept();
        sender.check_serves();
    }

    TEST_CASE("fault 13: a read error is an error of that read only") {
        const TempDirectory directory;
        Sender sender(directory.path(), {{"store.flush", "sync"}, {"store.hot_bytes", "0"}});
        sender.send_some(300);
        // From the files: of the log, only what is being written is mapped now.
        require_started(sender.broker.restart(true));
        for (const char* const call : {"pread64", "sendfile"}) {
            CAPTURE(call);
            const auto faults = inject(sender, "", std::string(call) + ":error=EIO");
            if (!faults) {
                return;
            }
            const auto client = sender.connect();
            const wire::PullMessageRequest pull = pull_of("T", 0, 0);
            const Answer answer = client->call(wire::RequestCode::kPullMessage, &pull);
            if (answer.summary() == "0") {
                CHECK(bodies(answer.body).front() == sender.kept.front());
            }
            CHECK(sender.broker.process().is_running());
            // What is not read from there goes on.
            sender.send_some(5);
        }
        sender.check_kept();
        sender.check_serves();
    }

    TEST_CASE("fault 17: on a slow disk sends wait or are refused as busy, and none is lost") {
        const TempDirectory directory;
        Sender sender(directory.path(),
                      {{"store.flush", "sync"}, {"limits.pending_acks_max", "16"}});
        sender.send_some(5);
        std::size_t busy = 0;
        {
            const auto faults = inject(sender, "log-flush", "fdatasync:delay_enter=300ms");
            if (!faults) {
                return;
            }
            const auto client = sender.connect();
            wire::SendRecordsRequest request;
            request.set_topic("T");
            request.set_count(1);
            std::vector<std::pair<std::string, std::future<Answer>>> sends;
            for (int i = 0; i < 100; ++i) {
                const std::string body = "slow " + std::to_string(i);
                sends.emplace_back(
                    body,
                    client->start(
                        wire::RequestCode::kSendRecords, &request, records("T", 0, {{body}})));
            }
            CHECK(sender.value("gantry_broker_pending_acks") <= 2 * 16);  // two loops
            for (auto& [body, future] : sends) {
                const Answer answer = future.get();
                if (answer.summary() == "0") {
                    sender.kept.push_back(body);
                } else {
                    CHECK_MESSAGE(answer.code == ResponseCode::kSystemBusy, answer.summary());
                    ++busy;
                }
            }
        }
        CHECK(busy > 0);
        CHECK(sender.kept.size() + busy == 105);
        sender.check_kept();
        sender.check_serves();
    }

    TEST_CASE("faults 14, 15: ext4 fills up and empties, without a restart and without a loss") {
        const TempDirectory directory;
        const auto disk = disk_in(directory, {.disk_bytes = 48U << 20U});
        if (!disk) {
            return;
        }
        Sender sender(directory.path(), on(*disk));
        const fs::path ballast = disk->path() / "ballast";
        {
            std::ofstream file(ballast, std::ios::binary);
            for (int i = 0; i < 20; ++i) {
                file << std::string(1 << 20, 'x');
            }
        }
        const Answer refused = send_until_refused(sender);
        CHECK_MESSAGE(refused.code == ResponseCode::kDiskFull, refused.summary());
        const double stored = sender.value("gantry_store_appended_messages_total");
        CHECK(sender.value("gantry_broker_requests_failed_disk_full_total") == 1);
        sender.check_kept();
        const pid_t pid = sender.broker.process().pid();

        fs::remove(ballast);
        const auto client = sender.connect();
        CHECK(wait_until(Process::kPatience,
                         [&] { return sender.send_next(*client).summary() == "0"; }));
        CHECK(sender.value("gantry_store_appended_messages_total") == stored + 1);
        CHECK(sender.value("gantry_store_writable") == 1);
        CHECK(sender.broker.process().pid() == pid);
        sender.check_serves();
        REQUIRE(sender.broker.stop());
    }

    TEST_CASE("fault 16: without a free inode the log does not roll, says so, and resumes") {
        const TempDirectory directory;
        const auto disk = disk_in(directory, {.disk_bytes = 96U << 20U, .make = {"-N", "128"}});
        if (!disk) {
            return;
        }
        Sender sender(directory.path(), on(*disk));
        std::vector<fs::path> taken;
        for (bool is_taken = true; is_taken;) {
            taken.push_back(disk->path() / ("inode-" + std::to_string(taken.size())));
            is_taken = std::ofstream(taken.back()).is_open();
        }
        taken.pop_back();
        REQUIRE_FALSE(taken.empty());
        const Answer refused = send_until_refused(sender);
        CHECK_MESSAGE(refused.code == ResponseCode::kDiskFull, refused.summary());
        CHECK_MESSAGE(has(refused.remark, "No space left on device"), refused.summary());
        sender.check_kept();
        for (const fs::path& path : taken) {
            fs::remove(path);
        }
        const auto client = sender.connect();
        CHECK(wait_until(Process::kPatience,
                         [&] { return sender.send_next(*client).summary() == "0"; }));
        sender.check_serves();
        REQUIRE(sender.broker.stop());
    }
}

}  // namespace
}  // namespace gantry::harness
