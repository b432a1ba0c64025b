// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "tests/harness/small_file_system.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStored = "gantry_store_appended_messages_total";
constexpr const char* kRefused = "gantry_broker_requests_failed_disk_full_total";

/// A store on a disk of its own with little room.
struct SmallDisk {
    SmallDisk() {
        auto mounted = SmallFileSystem::mount(directory.path() / "disk", 64U << 20U);
        REQUIRE_MESSAGE(mounted.has_value(), (mounted ? "" : to_string(mounted.error())));
        disk = std::move(mounted).value();
    }

    Settings settings(const std::string& flush) const {
        return {{"store.directory", (disk->path() / "store").string()}, {"store.flush", flush}};
    }

    /// Sends until the broker refuses; what it says.
    static Answer fill(Sender& sender) {
        const auto client = sender.connect();
        while (sender.kept.size() < 10'000) {
            Answer answer = sender.send_next(*client);
            if (answer.summary() != "0") {
                return answer;
            }
        }
        FAIL("10 000 messages of 20 kB were taken");
        return {};
    }

    static void check_full(Sender& sender, const Answer& refused) {
        CHECK_MESSAGE(refused.code == wire::ResponseCode::kDiskFull, refused.summary());
        CHECK_MESSAGE(has(refused.remark, "commitlog"), refused.summary());
        CHECK_MESSAGE(has(refused.remark, "store.segment_bytes 1048576"), refused.summary());
        const auto stock = sender.connect(wire::Codec::kJson);
        const wire::SendMessageRequest request = stock_send("T", 0);
        const Answer answer =
            stock->call(wire::RequestCode::kSendMessageV2, &request, std::string(60'000, 'x'));
        CHECK_MESSAGE(answer.code == wire::ResponseCode::kServiceNotAvailable, answer.summary());
        CHECK(sender.broker.process().is_running());
    }

    TempDirectory directory;
    std::unique_ptr<SmallFileSystem> disk;
};

fs::path last_segment_with(const BrokerProcess& broker, std::int64_t log_offset) {
    fs::path found;
    for (const fs::directory_entry& entry :
         fs::directory_iterator(broker.directory() / "b" / "store" / "commitlog")) {
        const std::string name = entry.path().filename().string();
        if (std::strtoll(name.c_str(), nullptr, 10) <= log_offset && entry.path() > found) {
            found = entry.path();
        }
    }
    REQUIRE_FALSE(found.empty());
    return found;
}

std::int64_t base_of(const fs::path& segment) {
    return std::strtoll(segment.filename().c_str(), nullptr, 10);
}

std::string noise(Random& random, std::size_t bytes) {
    std::string text(bytes, '\0');
    for (char& c : text) {
        c = static_cast<char>(random.next());
    }
    return text;
}

void overwrite(const fs::path& segment, std::int64_t log_offset, std::string_view bytes) {
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(log_offset - base_of(segment));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    REQUIRE(file.flush().good());
}

std::string read_log(const fs::path& segment, std::int64_t log_offset, std::size_t bytes) {
    std::ifstream file(segment, std::ios::binary);
    file.seekg(log_offset - base_of(segment));
    std::string text(bytes, '\0');
    file.read(text.data(), static_cast<std::streamsize>(bytes));
    REQUIRE(file.good());
    return text;
}

/// End of the log: of what was "appended", or "flushed".
std::int64_t log_end(BrokerProcess& broker, const std::string& what) {
    const Result<double> end = metric(broker.http_port(), "gantry_store_" + what + "_offset_bytes");
    REQUIRE(end);
    return static_cast<std::int64_t>(*end);
}

/// What the last start cut off the log, as it says.
std::int64_t cut_bytes(BrokerProcess& broker) {
    const std::string log = broker.process().err();
    const std::string name = "cut_bytes=";
    const std::size_t at = log.find(name);
    REQUIRE_MESSAGE(at != std::string::npos, log);
    return std::strtoll(log.c_str() + at + name.size(), nullptr, 10);
}

TEST_SUITE("process/broker_disk") {
    TEST_CASE_FIXTURE(SmallDisk, "a full disk refuses sends, keeps what it took, and resumes") {
        for (const std::string flush : {"sync", "async"}) {
            CAPTURE(flush);
            fs::create_directory(directory.path() / flush);
            Sender sender(directory.path() / flush, settings(flush));
            sender.send_some(10);
            REQUIRE(disk->leave_free(5U << 20U));
            const double before = sender.value(kStored);
            CHECK(sender.value(kRefused) == 0);
            const Answer refused = fill(sender);
            check_full(sender, refused);
            CHECK(sender.kept.size() > 100);
            sender.check_kept();
            CHECK(sender.value(kStored) == before + double(sender.kept.size() - 10));
            CHECK(sender.value(kRefused) == 2);  // of both kinds of clients
            CHECK(sender.value("gantry_store_prepared_segments") == 0);
            const pid_t pid = sender.broker.process().pid();

            disk->give_room();
            const auto client = sender.connect();
            CHECK(wait_until(Process::kPatience,
                             [&] { return sender.send_next(*client).summary() == "0"; }));
            CHECK(sender.value(kStored) == before + double(sender.kept.size() - 10));
            CHECK(sender.value("gantry_store_writable") == 1);
            CHECK(wait_until(Process::kPatience, [&] {
                return sender.value("gantry_store_disk_free_bytes") > double(kSegmentBytes);
            }));
            CHECK(sender.broker.process().pid() == pid);
            sender.check_serves();
            REQUIRE(sender.broker.stop());
            fs::remove_all(disk->path() / "store");
        }
    }

    TEST_CASE_FIXTURE(SmallDisk,
                      "a broker starts on a full disk, serves readers, and room heals it") {
        Sender sender(directory.path(), settings("sync"));
        sender.send_some(10);
        REQUIRE(disk->leave_free(5U << 20U));
        check_full(sender, fill(sender));
        // Not a byte is left, for snapshots and the like either.
        REQUIRE(disk->leave_free(0));
        sender.check_kept();
        for (const bool cleanly : {false, true}) {
            CAPTURE(cleanly);
            require_started(sender.broker.restart(cleanly));
            sender.check_kept();
            check_full(sender, fill(sender));
        }
        disk->give_room();
        require_started(sender.broker.restart());
        sender.check_kept();
        sender.check_serves();
    }

    TEST_CASE("a torn tail costs nothing that was acknowledged, whatever it is") {
        const char* const given = std::getenv("GANTRY_TEST_SEED");
        const std::uint64_t seed =
            given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
        CAPTURE(seed);
        Random random(seed);
        const TempDirectory directory;
        Sender sender(directory.path(), {{"store.flush", "sync"}});
        for (int round = 0; round < 6; ++round) {
            CAPTURE(round);
            sender.send_some(40);
            const std::int64_t end = log_end(sender.broker, "appended");
            sender.broker.kill();
            const fs::path segment = last_segment_with(sender.broker, end - 1);
            const std::int64_t room = base_of(segment) + kSegmentBytes - end;
            const std::int64_t last = sender.places.back();
            const std::string record =
                read_log(segment, last, static_cast<std::size_t>(end - last));
            const auto fits = [&](std::string bytes) {
                return bytes.substr(0, static_cast<std::size_t>(room));
            };
            if (round == 0) {
                overwrite(segment, end, fits(noise(random, 5'000)));
            } else if (round == 1) {
                overwrite(segment, end, fits(record.substr(0, record.size() / 2)));
            } else if (round == 2) {
                overwrite(segment, end, fits(record));  // whole, but of another place
            } else if (round == 3) {
                fs::resize_file(segment, static_cast<std::uintmax_t>(end - base_of(segment)));
            } else if (round == 4) {
                overwrite(segment, end, fits(std::string("\0\0\x4e\x20\xda\xa3\x20\xa7", 8)));
            } else {
                overwrite(segment, end, fits(noise(random, kSegmentBytes)));
            }
            require_started(sender.broker.start());
            CHECK((cut_bytes(sender.broker) > 0) == (round != 3));
            sender.check_kept();
        }
        sender.check_serves();
    }

    TEST_CASE("a tear in what was not yet synced is cut there, and no synced message is lost") {
        const TempDirectory directory;
        Sender sender(directory.path(), {{"store.flush", "sync"}});
        sender.send_some(50);
        sender.broker.set("store.flush", "async");
        sender.broker.set("store.flush_interval_ms", "60000");
        require_started(sender.broker.restart());
        const std::size_t synced = sender.kept.size();
        sender.send_some(20);
        REQUIRE(log_end(sender.broker, "flushed") <= sender.places[synced]);
        sender.broker.kill();
        const std::size_t torn = synced + 7;
        const std::int64_t at = sender.places[torn] + 3'000;
        overwrite(last_segment_with(sender.broker, at), at, std::string(100, '\xEE'));
        sender.broker.set("store.flush", "sync");
        require_started(sender.broker.start());
        CHECK(cut_bytes(sender.broker) > 0);
        sender.forget_behind(torn);
        sender.check_kept();
        sender.check_serves();
    }

    TEST_CASE("damage in what was synced costs that message alone") {
        const TempDirectory directory;
        Sender sender(directory.path(), {{"store.flush", "sync"}});
        sender.send_some(30);
        sender.broker.kill();
        const std::int64_t at = sender.places[10] + 3'000;
        overwrite(last_segment_with(sender.broker, at), at, "!");
        require_started(sender.broker.start());
        CHECK(sender.value("gantry_store_lost_messages_total") == 1);
        CHECK(sender.value("gantry_store_lost_ranges") == 1);
        CHECK(cut_bytes(sender.broker) == 0);
        sender.kept.erase(sender.kept.begin() + 10);
        sender.lost = 1;
        sender.check_kept();
        sender.check_serves();
    }

    TEST_CASE(
        "told to, the start refuses damage in what was synced and names it, cutting nothing") {
        const TempDirectory directory;
        Sender sender(directory.path(), {{"store.flush", "sync"}, {"store.on_damage", "refuse"}});
        sender.send_some(30);
        sender.broker.kill();
        const std::int64_t at = sender.places[10] + 3'000;
        const fs::path segment = last_segment_with(sender.broker, at);
        const std::string before = read_log(segment, at, 1);
        overwrite(segment, at, "!");
        const Status refused = sender.broker.start();
        REQUIRE_FALSE(refused);
        CHECK_MESSAGE(has(refused.error().detail, segment.filename().string()),
                      refused.error().detail);
        // The damage mended, everything is there.
        overwrite(segment, at, before);
        require_started(sender.broker.start());
        sender.check_kept();
        sender.check_serves();
    }
}

}  // namespace
}  // namespace gantry::harness
