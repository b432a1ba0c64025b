// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/event_loop.h"

#include "tests/net/fixture.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>
#include <functional>
#include <vector>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;
using namespace std::chrono_literals;

namespace {

/// Runs a function at the end of a pass.
struct AtEnd final : PassEnd {
    explicit AtEnd(std::function<void()> what) : run(std::move(what)) {}

    void on_pass_end() override { run(); }

    std::function<void()> run;
};

std::chrono::nanoseconds cpu_time_of_process() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

void check_all_tasks_run_in_order(std::chrono::microseconds spin) {
    LoopThread loop({.spin = spin});
    constexpr int kThreads = 4;
    constexpr int kTasks = 5'000;
    std::array<std::vector<int>, kThreads> seen;
    std::atomic<int> left = kThreads * kTasks;
    std::atomic<int> refused = 0;
    std::vector<std::thread> threads;
    for (std::vector<int>& mine : seen) {
        threads.emplace_back([&] {
            for (int i = 0; i < kTasks; ++i) {
                const Status posted = loop->post([&mine, &left, i] {
                    mine.push_back(i);
                    --left;
                });
                refused += posted ? 0 : 1;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(refused == 0);
    REQUIRE(wait_until([&] { return left == 0; }));
    for (const std::vector<int>& order : seen) {
        REQUIRE(order.size() == kTasks);
        CHECK(std::is_sorted(order.begin(), order.end()));
    }
}

}  // namespace

TEST_SUITE("net/event_loop") {
    TEST_CASE("tasks of many threads all run, each thread's in its order") {
        check_all_tasks_run_in_order(0us);
        check_all_tasks_run_in_order(50us);
    }

    TEST_CASE("a post wakes a loop that sleeps, again and again") {
        LoopThread loop;
        for (int i = 0; i < 2'000; ++i) {
            // Without the wake-up the answer would never come.
            CHECK(loop.run([i] { return i; }) == i);
        }
    }

    TEST_CASE("an idle loop uses no processor time") {
        for (const auto spin : {0us, 50us}) {
            LoopThread loop({.spin = spin});
            loop.run([] {});
            const auto before = cpu_time_of_process();
            std::this_thread::sleep_for(100ms);  // sleeps: measures a loop with nothing to do
            CHECK(cpu_time_of_process() - before < 50ms);
        }
    }

    TEST_CASE("a task posted by a task runs before the loop sleeps") {
        LoopThread loop;
        std::atomic<int> depth = 0;
        std::function<void()> again = [&] {
            if (++depth < 1'000) {
                REQUIRE(loop->post([&] { again(); }));
            }
        };
        REQUIRE(loop->post([&] { again(); }));
        CHECK(wait_until([&] { return depth == 1'000; }));
    }

    TEST_CASE("after stop posting is refused and waiting tasks are destroyed unrun") {
        auto loop = EventLoop::create({}).value();
        const auto token = std::make_shared<int>(1);
        bool has_run = false;
        REQUIRE(loop->post([token, &has_run] { has_run = true; }));
        CHECK(token.use_count() == 2);
        loop->stop();
        loop->run();
        CHECK(token.use_count() == 1);
        CHECK_FALSE(has_run);
        const Status refused = loop->post([] {});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::kClosed);
    }

    TEST_CASE("more than tasks_max waiting tasks are refused") {
        auto loop = EventLoop::create({.tasks_max = 2}).value();
        CHECK(loop->post([] {}));
        CHECK(loop->post([] {}));
        const Status refused = loop->post([] {});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::kBusy);
        CHECK(refused.error().detail.find("tasks_max 2") != std::string::npos);
    }

    TEST_CASE("pass-end work runs once a pass, after the tasks, and may ask for more") {
        auto loop = EventLoop::create({}).value();
        std::vector<std::string> order;
        AtEnd second([&] { order.emplace_back("second"); });
        AtEnd first([&] {
            order.emplace_back("first");
            loop->role().assert_held();
            loop->at_pass_end(second);
        });
        REQUIRE(loop->post([&] {
            loop->role().assert_held();
            order.emplace_back("task 1");
            loop->at_pass_end(first);
            loop->at_pass_end(first);
        }));
        REQUIRE(loop->post([&] { order.emplace_back("task 2"); }));
        REQUIRE(loop->post([&] {
            REQUIRE(loop->post([&] {
                order.emplace_back("next pass");
                loop->stop();
            }));
        }));
        loop->run();
        CHECK(order ==
              std::vector<std::string>{"task 1", "task 2", "first", "second", "next pass"});
    }

    TEST_CASE("withdrawn pass-end work does not run, even from within the pass end") {
        auto loop = EventLoop::create({}).value();
        int runs = 0;
        AtEnd withdrawn([&] { ++runs; });
        AtEnd later([&] { ++runs; });
        AtEnd remover([&] {
            loop->role().assert_held();
            loop->forget(later);
        });
        REQUIRE(loop->post([&] {
            loop->role().assert_held();
            loop->at_pass_end(withdrawn);
            loop->forget(withdrawn);
            loop->at_pass_end(remover);
            loop->at_pass_end(later);
            loop->stop();
        }));
        loop->run();
        CHECK(runs == 0);
    }

    TEST_CASE("what is buried lives until the pass is over") {
        LoopThread loop;
        std::weak_ptr<int> watch;
        const bool was_alive = loop.run([&] {
            loop->role().assert_held();
            auto object = std::make_shared<int>(2);
            watch = object;
            loop->bury(std::move(object));
            return !watch.expired();
        });
        CHECK(was_alive);
        CHECK(wait_until([&] { return loop.run([&] { return watch.expired(); }); }));
    }

    TEST_CASE("what is kept lives until it is let go, or as long as the loop") {
        const auto let_go = std::make_shared<int>(1);
        const auto kept = std::make_shared<int>(2);
        {
            LoopThread loop;
            loop.run([&] {
                loop->role().assert_held();
                loop->keep(let_go);
                loop->keep(kept);
                loop->let_go(let_go.get());
            });
            CHECK(wait_until([&] { return let_go.use_count() == 1; }));
            CHECK(kept.use_count() == 2);
        }
        CHECK(kept.use_count() == 1);
    }

    TEST_CASE("the time of a pass stands still within it") {
        LoopThread loop;
        const bool is_same = loop.run([&] {
            const SteadyTime before = loop->pass_time();
            return wait_until([&] { return std::chrono::steady_clock::now() > before; }) &&
                   before == loop->pass_time();
        });
        CHECK(is_same);
        const SteadyTime first = loop.run([&] { return loop->pass_time(); });
        CHECK(wait_until([&] { return loop.run([&] { return loop->pass_time(); }) > first; }));
    }

    TEST_CASE("a timer fires once, not early, and a repeated start replaces the shot") {
        LoopThread loop;
        std::promise<SteadyTime> fired;
        std::unique_ptr<Timer> timer;
        std::atomic<int> shots = 0;
        const SteadyTime start = std::chrono::steady_clock::now();
        loop.run([&] {
            timer = std::make_unique<Timer>(*loop, [&] {
                if (++shots == 1) {
                    fired.set_value(std::chrono::steady_clock::now());
                }
            });
            timer->start_once(1h);
            timer->start_once(20ms);
        });
        std::future<SteadyTime> when = fired.get_future();
        REQUIRE(when.wait_for(kPatience) == std::future_status::ready);
        CHECK(when.get() - start >= 20ms);
        loop.run([&] { timer.reset(); });
        CHECK(shots == 1);
    }

    TEST_CASE("a repeating timer goes on until cancelled, and may destroy itself") {
        LoopThread loop;
        std::unique_ptr<Timer> ticking;
        std::unique_ptr<Timer> mortal;
        std::atomic<int> ticks = 0;
        std::atomic<bool> is_gone = false;
        loop.run([&] {
            ticking = std::make_unique<Timer>(*loop, [&] { ++ticks; });
            ticking->start_every(1ms);
            mortal = std::make_unique<Timer>(*loop, [&, keep = std::make_shared<int>(1)] {
                mortal.reset();
                is_gone = keep.use_count() == 1;
            });
            mortal->start_every(1ms);
        });
        CHECK(wait_until([&] { return ticks >= 3 && is_gone; }));
        const int at_cancel = loop.run([&] {
            ticking->cancel();
            return ticks.load();
        });
        std::this_thread::sleep_for(10ms);  // sleeps: nothing tells that no tick comes
        CHECK(ticks == at_cancel);
        loop.run([&] { ticking.reset(); });
    }
}
