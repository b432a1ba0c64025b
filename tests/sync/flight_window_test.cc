// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/flight_window.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>

namespace gantry::sync {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;

constexpr std::int64_t kMost = std::int64_t{40} << 20U;
constexpr SteadyTime kStart = SteadyTime{} + 1s;

/// A line that sends so many bytes a second, each half a round trip late, in the order in which
/// they were given to it.
class Line {
public:
    Line(std::int64_t per_second, std::chrono::milliseconds round_trip)
        : per_second_(per_second), round_trip_(round_trip) {}

    /// Keeps the window full for so long.
    void fill(FlightWindow& window, std::chrono::seconds length) {
        const SteadyTime end = now_ + length;
        sent_ = 0;
        longest_ = {};
        while (now_ < end) {
            while (window.has_room(flying_)) {
                send(window.frame_bytes());
            }
            const Flight flight = flights_.front();
            flights_.pop_front();
            now_ = flight.answered_at;
            flying_ -= flight.bytes;
            sent_ += flight.bytes;
            longest_ = std::max(longest_, now_ - flight.sent_at);
            window.answered(now_, now_ - flight.sent_at, flight.bytes);
        }
        share_ = static_cast<double>(sent_) / static_cast<double>(per_second_ * length.count());
    }

    void set_round_trip(std::chrono::milliseconds round_trip) { round_trip_ = round_trip; }

    /// Of what it can carry, the last time.
    double share() const { return share_; }

    FlightWindow::Duration longest() const { return longest_; }

private:
    struct Flight {
        SteadyTime sent_at{};
        SteadyTime answered_at{};
        std::int64_t bytes = 0;
    };

    void send(std::int64_t bytes) {
        free_at_ = std::max(free_at_, now_) + 1us * (bytes * 1'000'000 / per_second_);
        flights_.push_back({now_, free_at_ + round_trip_, bytes});
        flying_ += bytes;
    }

    const std::int64_t per_second_;
    std::chrono::milliseconds round_trip_;
    SteadyTime now_ = kStart;
    SteadyTime free_at_ = kStart;
    std::deque<Flight> flights_;
    std::int64_t flying_ = 0;
    std::int64_t sent_ = 0;
    double share_ = 0;
    FlightWindow::Duration longest_{};
};

}  // namespace

TEST_SUITE("sync/flight_window") {
    TEST_CASE("lines of all kinds are full, and answers come in time") {
        for (const std::int64_t per_second : {100'000, 1'000'000, 12'500'000, 50'000'000}) {
            for (const auto round_trip : {1ms, 40ms, 100ms, 300ms}) {
                CAPTURE(per_second);
                CAPTURE(round_trip.count());
                FlightWindow window(kMost, 10s);
                Line line(per_second, round_trip);
                line.fill(window, 20s);
                line.fill(window, 60s);
                CHECK(line.share() > 0.95);
                CHECK(line.longest() < 5s);
            }
        }
    }

    TEST_CASE("a line that is wide and short is not held back by a small start") {
        FlightWindow window(kMost, 10s);
        Line line(100'000'000, 1ms);
        line.fill(window, 1s);
        CHECK(line.share() > 0.9);
    }

    TEST_CASE("a line that becomes longer is taken as it is") {
        FlightWindow window(kMost, 10s);
        Line line(5'000'000, 20ms);
        line.fill(window, 20s);
        line.set_round_trip(300ms);
        line.fill(window, 60s);
        line.fill(window, 60s);
        CHECK(line.share() > 0.95);
        CHECK(line.longest() < 3s);
    }

    TEST_CASE("it never grows beyond its limit, and always lets a frame go") {
        FlightWindow window(kMost, 10s);
        for (int i = 0; i < 1'000; ++i) {
            window.answered(kStart, 1ms, 1 << 20U);
        }
        CHECK(window.size() == kMost);
        for (int i = 0; i < 1'000; ++i) {
            window.failed();
        }
        CHECK(window.has_room(0));
        CHECK(window.size() >= window.frame_bytes());
        CHECK(window.size() < 256 << 10U);
    }

    TEST_CASE("late answers to what was sent together shrink it once") {
        FlightWindow window(kMost, 10s);
        window.answered(kStart, 10ms, 7 << 20U);
        const std::int64_t before = window.size();
        for (int i = 0; i < 10; ++i) {
            window.answered(kStart + 2s + i * 1ms, 1'500ms, 1 << 20U);
        }
        CHECK(window.size() == before - before / 4);
    }
}

}  // namespace gantry::sync
