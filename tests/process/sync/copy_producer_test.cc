// SPDX-License-Identifier: Apache-2.0
#include "client/copy/copy_producer.h"

#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using client::CopiedFrame;
using client::CopyProducer;

CopiedFrame frame_of(std::int64_t first,
                     std::uint32_t span,
                     const std::vector<std::string>& bodies,
                     std::uint32_t epoch = 0) {
    CopiedFrame frame;
    frame.queue = {"T", "broker-0", 0};
    frame.stream = 7;
    frame.epoch = epoch;
    frame.first = first;
    frame.span = span;
    for (const std::string& body : bodies) {
        client::CopiedMessage copied;
        copied.message.topic = "T";
        copied.message.body = body;
        copied.born_ms = 12'345;
        frame.messages.push_back(std::move(copied));
    }
    return frame;
}

/// kClosed stands for success here.
Errc send(CopyProducer& producer, const CopiedFrame& frame) {
    auto answer = std::make_shared<std::promise<Errc>>();
    std::future<Errc> future = answer->get_future();
    const Status accepted = producer.send_async(frame, [answer](const auto& receipt) {
        answer->set_value(receipt ? Errc::kClosed : receipt.error().code);
    });
    return accepted ? future.get() : accepted.error().code;
}

}  // namespace

TEST_SUITE("process/copy_producer") {
    TEST_CASE("frames are stored when they follow each other, whoever sends them") {
        Site site;
        site.create("T", 1);
        auto one = CopyProducer::create(site.connect(), {}).value();
        auto other = CopyProducer::create(site.connect(), {}).value();
        CHECK(send(*one, frame_of(0, 10, {"a"})) == Errc::kGone);  // no route yet
        REQUIRE(one->queues("T")->size() == 1);
        REQUIRE(other->queues("T")->size() == 1);
        CHECK(one->positions("T", "broker-0")->empty());
        CHECK(send(*one, frame_of(5, 10, {"a"})) == Errc::kConflict);  // nobody knows the stream
        REQUIRE(send(*one, frame_of(0, 10, {"a", "b"})) == Errc::kClosed);
        CHECK(send(*other, frame_of(11, 1, {"x"})) == Errc::kConflict);  // a gap
        REQUIRE(send(*other, frame_of(10, 1, {"c"})) == Errc::kClosed);
        CHECK(send(*one, frame_of(10, 3, {"x", "y", "z"})) == Errc::kRefused);  // stored otherwise
        CHECK(send(*one, frame_of(10, 1, {"c"})) == Errc::kClosed);             // the same again
        const auto positions = one->positions("T", "broker-0").value();
        REQUIRE(positions.size() == 1);
        CHECK(positions[0].stream == 7);
        CHECK(positions[0].queue == 0);
        CHECK(positions[0].epoch == 0);
        CHECK(positions[0].next == 11);
        REQUIRE(send(*one, frame_of(0, 5, {"d"}, 1)) == Errc::kClosed);  // an epoch begins
        CHECK(send(*other, frame_of(11, 1, {"x"})) == Errc::kConflict);  // and another is over
        std::vector<std::string> bodies;
        for (const Found& found : site.read("T")) {
            CHECK(found.born_ms == 12'345);
            bodies.push_back(found.body);
        }
        CHECK(bodies == std::vector<std::string>{"a", "b", "c", "d"});
    }

    TEST_CASE("what cannot be sent is refused at once") {
        Site site;
        site.create("T", 1);
        auto producer = CopyProducer::create(site.connect(), {}).value();
        REQUIRE(producer->queues("T"));
        CHECK(send(*producer, frame_of(0, 1, {})) == Errc::kRefused);
        CHECK(send(*producer, frame_of(0, 1, {"a", "b"})) == Errc::kRefused);
        CHECK(producer->queues("none").error().code == Errc::kNotFound);
        CHECK(producer->positions("none", "broker-0").error().code == Errc::kNotFound);
        CopyProducer::Options options;
        options.timeout = std::chrono::milliseconds(0);
        CHECK(CopyProducer::create(site.connect(), options).error().code == Errc::kRefused);
    }
}

}  // namespace gantry::harness
