// SPDX-License-Identifier: Apache-2.0
#include "client/order/key_scheduler.h"

#include "common/random.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

using Work = KeyScheduler::Work;

constexpr SteadyTime kStart{std::chrono::hours(1)};

void push(KeyScheduler& scheduler, const std::string& key) {
    scheduler.push(key, scheduler.end(), MessageView{});
}

std::vector<std::int64_t> offsets(const Work& work) {
    std::vector<std::int64_t> all;
    for (const KeyScheduler::Held& held : work.held) {
        all.push_back(held.offset);
    }
    return all;
}

/// What a random run expects: which messages of each key are not done, in order.
class Model {
public:
    void pushed(const std::string& key, std::int64_t offset) {
        keys[key].push_back(offset);
        undone.insert(offset);
    }

    void taken(const Work& work) {
        REQUIRE(running.insert(work.key).second);  // one at a time
        const std::vector<std::int64_t> got = offsets(work);
        const std::vector<std::int64_t>& wanted = keys[work.key];
        REQUIRE(got.size() <= wanted.size());
        REQUIRE(std::equal(got.begin(), got.end(), wanted.begin()));  // nothing is overtaken
    }

    void done(const Work& work) {
        running.erase(work.key);
        std::vector<std::int64_t>& left = keys[work.key];
        left.erase(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(work.held.size()));
        for (const std::int64_t offset : offsets(work)) {
            undone.erase(offset);
        }
    }

    std::map<std::string, std::vector<std::int64_t>> keys;
    std::set<std::int64_t> undone;
    std::set<std::string> running;
};

}  // namespace

TEST_SUITE("client/key_scheduler") {
    TEST_CASE("one key: one batch at a time, and what failed comes first, one by one") {
        KeyScheduler scheduler(10);
        for (int i = 0; i < 5; ++i) {
            push(scheduler, "");
        }
        std::optional<Work> work = scheduler.take(3, kStart);
        REQUIRE(work);
        CHECK(offsets(*work) == std::vector<std::int64_t>{10, 11, 12});
        CHECK_FALSE(scheduler.take(3, kStart));
        scheduler.again(*work, kStart + 1s, true);
        CHECK_FALSE(scheduler.take(3, kStart));
        CHECK(scheduler.next_due() == kStart + 1s);
        CHECK_FALSE(scheduler.is_ready(kStart));
        for (const std::int64_t one : {10, 11, 12}) {
            work = scheduler.take(3, kStart + 1s);
            REQUIRE(work);
            CHECK(offsets(*work) == std::vector<std::int64_t>{one});
            CHECK(work->attempts == 0);
            scheduler.done(*work);
            CHECK(scheduler.first_undone() == one + 1);
        }
        work = scheduler.take(3, kStart + 1s);
        CHECK(offsets(*work) == std::vector<std::int64_t>{13, 14});
        scheduler.done(*work);
        CHECK(scheduler.is_empty());
        CHECK(scheduler.first_undone() == 15);
    }

    TEST_CASE("attempts are counted for the message that fails, suspensions are not") {
        KeyScheduler scheduler(0);
        push(scheduler, "k");
        push(scheduler, "k");
        for (std::uint32_t failed = 0; failed < 3; ++failed) {
            std::optional<Work> work = scheduler.take(1, kStart);
            CHECK(work->attempts == failed);
            scheduler.again(*work, kStart, false);
            work = scheduler.take(1, kStart);
            CHECK(work->attempts == failed);
            scheduler.again(*work, kStart, true);
        }
        scheduler.done(*scheduler.take(1, kStart));
        CHECK(scheduler.take(1, kStart)->attempts == 0);
    }

    TEST_CASE("a key that waits holds up no other, and the offset that may be committed") {
        KeyScheduler scheduler(0);
        push(scheduler, "a");
        push(scheduler, "b");
        push(scheduler, "a");
        std::optional<Work> work = scheduler.take(1, kStart);
        CHECK(work->key == "a");
        scheduler.again(*work, kStart + std::chrono::hours(1), true);
        work = scheduler.take(1, kStart);
        CHECK(work->key == "b");
        scheduler.done(*work);
        CHECK_FALSE(scheduler.take(1, kStart));
        CHECK(scheduler.first_undone() == 0);
        CHECK(scheduler.span() == 3);
    }

    TEST_CASE("random keys, batches and failures: order by key, commits of a whole prefix") {
        Random random(test_seed());
        for (int round = 0; round < 50; ++round) {
            KeyScheduler scheduler(static_cast<std::int64_t>(random.below(5)));
            Model model;
            std::vector<Work> running;
            SteadyTime now = kStart;
            const std::uint64_t keys = 1 + random.below(6);
            int left = 60;
            while (left > 0 || !scheduler.is_empty()) {
                now += std::chrono::milliseconds(random.below(20));
                const std::uint64_t dice = random.below(10);
                if (dice < 4 && left > 0) {
                    const std::string key = "k" + std::to_string(random.below(keys));
                    // Filtered messages leave gaps.
                    const auto offset =
                        scheduler.end() + static_cast<std::int64_t>(random.below(3));
                    model.pushed(key, offset);
                    scheduler.push(key, offset, MessageView{});
                    --left;
                } else if (dice < 7) {
                    if (std::optional<Work> work = scheduler.take(1 + random.below(4), now)) {
                        model.taken(*work);
                        running.push_back(std::move(*work));
                    }
                } else if (!running.empty()) {
                    std::swap(running[random.below(running.size())], running.back());
                    Work work = std::move(running.back());
                    running.pop_back();
                    if (random.below(3) == 0) {
                        model.running.erase(work.key);
                        scheduler.again(std::move(work),
                                        now + std::chrono::milliseconds(random.below(50)),
                                        random.below(2) == 0);
                    } else {
                        model.done(work);
                        scheduler.done(work);
                    }
                }
                REQUIRE(scheduler.first_undone() ==
                        (model.undone.empty() ? scheduler.end() : *model.undone.begin()));
            }
            CHECK(running.empty());
        }
    }
}

}  // namespace gantry::client::test
