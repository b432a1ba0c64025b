// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/cold_pace.h"

#include "storage/cold/fair_queue.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace gantry::storage {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t kMiB = 1 << 20;

SteadyTime at(milliseconds since) {
    return SteadyTime{} + std::chrono::hours(1) + since;
}

TEST_SUITE("storage/cold/cold_pace") {
    TEST_CASE("a bucket lets its rate through and no more, in pieces larger than it holds") {
        TokenBucket bucket;
        bucket.set_rate(10 * kMiB);
        std::uint64_t taken = 0;
        for (int ms = 0; ms <= 10'000; ++ms) {
            if (bucket.is_open(at(milliseconds(ms)))) {
                bucket.take(kMiB, at(milliseconds(ms)));
                taken += kMiB;
            }
        }
        CHECK(taken >= 99 * kMiB);
        CHECK(taken <= 102 * kMiB);
    }

    TEST_CASE("a bucket in debt says when it opens, and is open then") {
        TokenBucket bucket;
        bucket.set_rate(kMiB);
        REQUIRE(bucket.is_open(at(milliseconds(0))));
        bucket.take(2 * kMiB, at(milliseconds(0)));
        CHECK_FALSE(bucket.is_open(at(milliseconds(1))));
        const SteadyTime opens = bucket.opens_at(at(milliseconds(1)));
        CHECK(opens > at(milliseconds(1'900)));
        CHECK(opens < at(milliseconds(2'100)));
        CHECK(bucket.is_open(opens));
        CHECK(bucket.opens_at(opens) == opens);
    }

    TEST_CASE("without a rate a bucket is always open") {
        TokenBucket bucket;
        bucket.take(1'000 * kMiB, at(milliseconds(0)));
        CHECK(bucket.is_open(at(milliseconds(0))));
    }

    TEST_CASE("a fixed pace bounds what is read and what is given, each by itself") {
        ColdPace pace(10 * kMiB, at(milliseconds(0)));
        REQUIRE(pace.may_go(at(milliseconds(0))));
        SUBCASE("read") {
            pace.was_read(kMiB, at(milliseconds(0)));
        }
        SUBCASE("given") {
            pace.was_given(kMiB, at(milliseconds(0)));
        }
        CHECK_FALSE(pace.may_go(at(milliseconds(50))));
        CHECK(pace.goes_at(at(milliseconds(50))) > at(milliseconds(50)));
        CHECK(pace.may_go(at(milliseconds(110))));
        pace.answered_after(milliseconds(500));
        CHECK(pace.may_go(at(milliseconds(300))));
        CHECK(pace.rate() == 10 * kMiB);
    }

    TEST_CASE("the automatic pace drops to a part of what it achieved when loops are late") {
        ColdPace pace(0, at(milliseconds(0)));
        REQUIRE(pace.rate() == ColdPace::kRateMax);
        for (int i = 0; i < 100; ++i) {
            pace.was_given(kMiB, at(milliseconds(i)));
            pace.answered_after(i % 4 == 0 ? ColdPace::kLagMax * 2 : microseconds(100));
        }
        pace.may_go(at(milliseconds(100)));
        CHECK(pace.rate() > 650 * kMiB);
        CHECK(pace.rate() < 750 * kMiB);
        const std::uint64_t dropped = pace.rate();
        for (int i = 0; i < 100; ++i) {
            pace.answered_after(microseconds(100));
        }
        pace.may_go(at(milliseconds(200)));
        CHECK(pace.rate() > dropped);
        for (int window = 3; window < 200; ++window) {
            pace.was_given(kMiB, at(milliseconds(window * 100)));
            for (int i = 0; i < 10; ++i) {
                pace.answered_after(ColdPace::kLagMax * 2);
            }
            pace.may_go(at(milliseconds(window * 100)));
        }
        CHECK(pace.rate() == ColdPace::kRateMin);
    }

    TEST_CASE("a late answer among many that are not changes nothing") {
        ColdPace pace(0, at(milliseconds(0)));
        for (int i = 0; i < 100; ++i) {
            pace.answered_after(i < 3 ? ColdPace::kLagMax * 2 : microseconds(10));
        }
        pace.may_go(at(milliseconds(100)));
        CHECK(pace.rate() == ColdPace::kRateMax);
    }

    TEST_CASE("the automatic pace drops when loops wait for a processor") {
        ColdPace pace(0, at(milliseconds(0)));
        const auto share = [&pace](int window, milliseconds waited) {
            pace.was_given(40 * kMiB, at(milliseconds(window * 100 - 50)));
            pace.waited(waited, milliseconds(100));
            pace.waited(milliseconds(0), milliseconds(100));
            pace.may_go(at(milliseconds(window * 100)));
            return pace.rate();
        };
        // One of two loops counts half.
        CHECK(share(1, milliseconds(20)) == ColdPace::kRateMax);
        CHECK(share(2, milliseconds(30)) < 40 * kMiB * 10);
        // So slow they are not what takes the processor.
        for (int window = 3; window < 20; ++window) {
            share(window, milliseconds(100));
        }
        CHECK(pace.rate() == ColdPace::kCrowdedRateMin);
        CHECK(share(20, milliseconds(0)) > ColdPace::kCrowdedRateMin);
    }

    TEST_CASE("what was slowed by late loops gets faster again though processors are short") {
        ColdPace pace(0, at(milliseconds(0)));
        for (int window = 1; window < 60; ++window) {
            pace.was_given(kMiB, at(milliseconds(window * 100 - 50)));
            pace.waited(milliseconds(100), milliseconds(100));
            for (int i = 0; i < 10; ++i) {
                pace.answered_after(window < 20 ? ColdPace::kLagMax * 2 : microseconds(10));
            }
            pace.may_go(at(milliseconds(window * 100)));
            if (window == 19) {
                CHECK(pace.rate() == ColdPace::kRateMin);
            }
        }
        CHECK(pace.rate() == ColdPace::kCrowdedRateMin);
    }

    TEST_CASE("the automatic pace drops when syncs take longer than they did without cold reads") {
        ColdPace pace(0, at(milliseconds(0)));
        pace.flushed(10, milliseconds(10));
        pace.may_go(at(milliseconds(100)));
        pace.was_read(40 * kMiB, at(milliseconds(110)));
        pace.flushed(20, milliseconds(25));
        pace.may_go(at(milliseconds(200)));
        CHECK(pace.rate() == ColdPace::kRateMax);
        pace.was_read(40 * kMiB, at(milliseconds(210)));
        pace.flushed(30, milliseconds(125));
        pace.may_go(at(milliseconds(300)));
        CHECK(pace.rate() < 40 * kMiB * 10);
    }
}

TEST_SUITE("storage/cold/fair_queue") {
    TEST_CASE("groups take turns, whatever each has waiting") {
        FairQueue<std::string> queue(0);
        for (int i = 0; i < 100; ++i) {
            queue.push("greedy", "g" + std::to_string(i));
        }
        queue.push("small", "s0");
        queue.push("small", "s1");
        std::vector<std::string> order;
        for (int i = 0; i < 6; ++i) {
            order.push_back(queue.pop(at(milliseconds(0))).value());
        }
        CHECK(order == std::vector<std::string>{"g0", "s0", "g1", "s1", "g2", "g3"});
        CHECK(queue.size() == 96);
    }

    TEST_CASE("a group lets who is a little behind it go first for three turns") {
        FairQueue<std::string> queue(0);
        for (int i = 0; i < 8; ++i) {
            queue.push("ahead", "a", 100 * kMiB);
            queue.push("behind", "b", 10'000'000 + i);
        }
        std::string order;
        for (int i = 0; i < 9; ++i) {
            order += queue.pop(at(milliseconds(0))).value();
        }
        CHECK(order == "bbbabbbba");
    }

    TEST_CASE("far apart, or somewhere, groups take plain turns") {
        FairQueue<std::string> queue(0);
        for (int i = 0; i < 4; ++i) {
            queue.push("ahead", "a", FairQueue<std::string>::kNearBytes + 1);
            queue.push("behind", "b", 0);
            queue.push("new", "n");
        }
        std::string order;
        for (int i = 0; i < 6; ++i) {
            order += queue.pop(at(milliseconds(0))).value();
        }
        CHECK(order == "abnabn");
    }

    TEST_CASE("a little is up to its limit, and so many groups are looked at") {
        using Queue = FairQueue<std::string>;
        const auto first_of = [](std::size_t between, std::int64_t ahead) {
            Queue queue(0);
            queue.push("ahead", "a", ahead);
            for (std::size_t i = 0; i < between; ++i) {
                queue.push("new " + std::to_string(i), "n");
            }
            queue.push("behind", "b", 0);
            return queue.pop(at(milliseconds(0))).value();
        };
        CHECK(first_of(0, Queue::kNearBytes) == "b");
        CHECK(first_of(0, Queue::kNearBytes + 1) == "a");
        CHECK(first_of(Queue::kLookMax - 2, 1) == "b");
        CHECK(first_of(Queue::kLookMax - 1, 1) == "a");
    }

    TEST_CASE("a group beyond its rate waits and does not hold up the others") {
        FairQueue<int> queue(kMiB);
        for (int i = 0; i < 3; ++i) {
            queue.push("fast", i);
            queue.push("slow", 10 + i);
        }
        REQUIRE(queue.pop(at(milliseconds(0))) == 0);
        queue.finish("fast", kMiB, at(milliseconds(0)));
        REQUIRE(queue.pop(at(milliseconds(0))) == 10);
        queue.finish("slow", 0, at(milliseconds(0)));
        CHECK(queue.pop(at(milliseconds(1))) == 11);
        CHECK(queue.pop(at(milliseconds(1))) == 12);
        CHECK_FALSE(queue.pop(at(milliseconds(1))));
        const auto next = queue.next_at(at(milliseconds(1)));
        REQUIRE(next);
        CHECK(*next > at(milliseconds(900)));
        CHECK(queue.pop(*next) == 1);
    }

    TEST_CASE("a group keeps its debt while it has nothing to do") {
        FairQueue<int> queue(kMiB);
        queue.push("g", 1);
        REQUIRE(queue.pop(at(milliseconds(0))) == 1);
        queue.finish("g", 2 * kMiB, at(milliseconds(0)));
        CHECK_FALSE(queue.pop(at(milliseconds(10))));
        queue.push("g", 2);
        CHECK_FALSE(queue.pop(at(milliseconds(1'000))));
        CHECK(queue.pop(at(milliseconds(2'100))) == 2);
    }

    TEST_CASE("what waits can be taken out") {
        FairQueue<int> queue(0);
        queue.push("a", 1);
        queue.push("b", 2);
        CHECK(queue.take_all().size() == 2);
        CHECK(queue.size() == 0);
        CHECK_FALSE(queue.pop(at(milliseconds(0))));
        CHECK_FALSE(queue.next_at(at(milliseconds(0))));
    }
}

}  // namespace
}  // namespace gantry::storage
