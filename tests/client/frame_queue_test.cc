// SPDX-License-Identifier: Apache-2.0
#include "client/produce/send_frame.h"

#include <doctest/doctest.h>

#include <utility>
#include <vector>

namespace gantry::client {
namespace {

FramePtr frame(std::uint64_t sequence) {
    FramePtr made = std::make_unique<Frame>();
    made->sequence = sequence;
    return made;
}

std::vector<std::uint64_t> drain(FrameQueue& queue) {
    std::vector<std::uint64_t> order;
    while (!queue.empty()) {
        REQUIRE(queue.size() > 0);
        REQUIRE(queue.front().sequence <= queue.back().sequence);
        order.push_back(queue.pop_front()->sequence);
    }
    CHECK(queue.size() == 0);
    return order;
}

TEST_SUITE("client/frame_queue") {
    TEST_CASE("frames leave in the order they came") {
        FrameQueue queue;
        for (std::uint64_t i = 1; i <= 3; ++i) {
            queue.push_back(frame(i));
            CHECK(queue.size() == i);
            CHECK(queue.back().sequence == i);
            CHECK(queue.front().sequence == 1);
        }
        CHECK(drain(queue) == std::vector<std::uint64_t>{1, 2, 3});
        queue.push_back(frame(4));
        CHECK(queue.front().sequence == 4);
        CHECK(queue.back().sequence == 4);
    }

    TEST_CASE("a frame that comes back takes its place by sequence") {
        FrameQueue queue;
        queue.put_in_order(frame(5));
        queue.push_back(frame(7));
        queue.put_in_order(frame(6));
        queue.put_in_order(frame(2));
        queue.put_in_order(frame(9));
        CHECK(queue.back().sequence == 9);
        queue.push_back(frame(10));
        CHECK(queue.size() == 6);
        CHECK(drain(queue) == std::vector<std::uint64_t>{2, 5, 6, 7, 9, 10});
    }

    TEST_CASE("a queue moves with its frames and leaves an empty one") {
        FrameQueue from;
        from.push_back(frame(1));
        from.push_back(frame(2));
        FrameQueue to = std::move(from);
        from = FrameQueue();
        CHECK(from.empty());
        from.push_back(frame(3));
        to = std::move(from);
        CHECK(drain(to) == std::vector<std::uint64_t>{3});
    }

    TEST_CASE("a very long queue is destroyed without recursion") {
        FrameQueue queue;
        for (std::uint64_t i = 0; i < 300'000; ++i) {
            queue.push_back(frame(i));
        }
        CHECK(queue.size() == 300'000);
    }
}

}  // namespace
}  // namespace gantry::client
