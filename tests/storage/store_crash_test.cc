// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "common/unique_fd.h"
#include "tests/storage/store_fixture.h"

#include <array>
#include <csignal>
#include <cstring>
#include <map>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace gantry::storage {
namespace {

constexpr std::int32_t kQueues = 3;

/// What the child says: the message of that queue offset is durable.
struct Acknowledged {
    std::int64_t queue_offset = 0;
    std::int32_t queue = 0;
    std::uint32_t number = 0;
};

std::uint64_t test_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
}

/// The child: appends with sync flush and reports what became durable, until it is killed. No
/// doctest in here.
[[noreturn]] void append_forever(const StoreOptions& options, std::uint32_t first, int pipe) {
    const auto files = make_posix_file_system();
    SystemClock clock;
    MetricRegistry metrics;
    auto opened = Store::open(*files, clock, metrics, options);
    if (!opened) {
        std::fprintf(stderr, "child: %s\n", to_string(opened.error()).c_str());
        std::_Exit(3);
    }
    Store& store = *opened->store;
    Topic* const topic = store.find_topic("t");
    std::vector<std::pair<LogOffset, Acknowledged>> waiting;
    for (std::uint32_t number = first;; ++number) {
        const auto queue_id = static_cast<std::int32_t>(number % kQueues);
        Queue& queue = *topic->queue(queue_id);
        const std::string body = numbered_body(number, 20 + number % 3'000);
        wire::Record record;
        record.body = as_bytes(body);
        const auto appended = store.append_messages(queue, {&record, 1});
        if (!appended) {
            std::fprintf(stderr, "child: %s\n", to_string(appended.error()).c_str());
            std::_Exit(4);
        }
        waiting.push_back(
            {appended->end, Acknowledged{appended->queue_offset.value, queue_id, number}});
        if (number % 8 == 0) {
            store.flush_soon();
        }
        const LogOffset flushed = store.watermarks().confirmed;
        std::size_t done = 0;
        while (done < waiting.size() && waiting[done].first <= flushed) {
            const Acknowledged& said = waiting[done++].second;
            if (::write(pipe, &said, sizeof(said)) != static_cast<ssize_t>(sizeof(said))) {
                std::_Exit(5);
            }
        }
        waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(done));
    }
}

/// Runs a child, kills it after `delay`, returns what it had acknowledged.
std::vector<Acknowledged> run_and_kill(const StoreOptions& options,
                                       std::uint32_t first,
                                       std::chrono::microseconds delay) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        append_forever(options, first, write_end.get());
    }
    write_end.reset();
    std::vector<Acknowledged> all;
    Acknowledged said;
    std::thread killer([child, delay] {
        std::this_thread::sleep_for(delay);  // sleeps: the kill comes at a random moment
        ::kill(child, SIGKILL);
    });
    while (::read(read_end.get(), &said, sizeof(said)) == static_cast<ssize_t>(sizeof(said))) {
        all.push_back(said);
    }
    killer.join();
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    return all;
}

TEST_SUITE("storage/crash") {
    TEST_CASE("after kill -9 every acknowledged record is there, in order, and none is torn") {
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        Random random(seed);
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.options.flush = FlushMode::kSync;
        at.options.checkpoint_bytes = 200'000;
        at.open();
        at.queue("t");
        at.store.reset();
        std::array<std::map<std::int64_t, std::uint32_t>, kQueues> acknowledged;
        std::uint32_t next = 0;
        std::size_t total = 0;
        for (int round = 0; round < 12; ++round) {
            CAPTURE(round);
            const std::chrono::microseconds delay(5'000 + random.below(120'000));
            for (const Acknowledged& said : run_and_kill(at.options, next, delay)) {
                acknowledged[static_cast<std::size_t>(said.queue)][said.queue_offset] = said.number;
                next = std::max(next, said.number + 1);
                ++total;
            }
            // Numbers that were stored and not acknowledged are not used again.
            next += 10'000;
            at.open();
            CHECK_FALSE(at.recovery.was_clean);
            for (std::int32_t id = 0; id < kQueues; ++id) {
                const std::vector<std::string> bodies = read_bodies(*at.store, at.queue("t", id));
                for (const auto& [offset, number] : acknowledged[static_cast<std::size_t>(id)]) {
                    REQUIRE(offset < static_cast<std::int64_t>(bodies.size()));
                    CHECK(bodies[static_cast<std::size_t>(offset)] ==
                          numbered_body(number, 20 + number % 3'000));
                }
            }
            at.store.reset();
            // Every other kill is recovered from the first record on.
            if (round % 2 == 0) {
                std::filesystem::remove(directory.path() / "checkpoint");
            }
        }
        CHECK(total > 0);
    }
}

}  // namespace
}  // namespace gantry::storage
