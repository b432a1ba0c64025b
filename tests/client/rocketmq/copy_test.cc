// SPDX-License-Identifier: Apache-2.0
#include "client/copy/rocketmq_copy.h"
#include "protocol/wire/batch.h"
#include "protocol/wire/properties.h"
#include "tests/client/rocketmq/stock_broker.h"

#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client::test {
namespace {

using wire::RequestCode;

CopiedMessage copied_of(const std::string& body, WallMs born_ms = 5'000) {
    CopiedMessage copied;
    copied.message.topic = "T";
    copied.message.body = body;
    copied.message.tag = "A";
    copied.message.keys = {"two", "keys"};
    copied.message.flag = 3;
    copied.message.properties = {{"color", "red"}};
    copied.born_ms = born_ms;
    copied.born_host = "10.1.2.3:99";
    return copied;
}

CopiedFrame frame_of(std::vector<CopiedMessage> messages) {
    CopiedFrame frame;
    frame.queue = {"T", "broker-0", 2};
    frame.span = static_cast<std::uint32_t>(messages.size());
    frame.messages = std::move(messages);
    return frame;
}

std::vector<std::size_t> sizes_of(const std::vector<RocketMqSend>& sends) {
    std::vector<std::size_t> sizes;
    for (const RocketMqSend& send : sends) {
        const bool is_batch = send.code == RequestCode::kSendBatchMessage;
        CHECK(send.fields.batch() == is_batch);
        sizes.push_back(is_batch ? wire::parse_batch(as_bytes(send.body), 10'000)->size() : 1);
    }
    return sizes;
}

}  // namespace

TEST_SUITE("client/rocketmq_copy") {
    TEST_CASE("messages born within a second are a batch, what it cannot say is in properties") {
        const CopiedFrame frame = frame_of(
            {copied_of("a"), copied_of("b", 5'900), copied_of("c", 4'000), copied_of("d", 6'001)});
        const auto sends = rocketmq_copy(frame, {});
        REQUIRE(sends);
        REQUIRE(sizes_of(*sends) == std::vector<std::size_t>{3, 1});
        const RocketMqSend& batch = sends->front();
        CHECK(batch.fields.borntimestamp() == 5'000);
        CHECK(batch.fields.queueid() == 2);
        CHECK(batch.fields.topic() == "T");
        const auto elements = wire::parse_batch(as_bytes(batch.body), 10).value();
        const auto property = [](const wire::BatchElement& element, std::string_view name) {
            return wire::find_property(element.properties, name);
        };
        CHECK(as_text(elements[1].body) == "b");
        CHECK(elements[1].flag == 3);
        CHECK(property(elements[1], "KEYS") == "two keys");
        CHECK(property(elements[1], "TAGS") == "A");
        CHECK(property(elements[1], "color") == "red");
        CHECK(property(elements[0], "GANTRY_BORN_HOST") == "10.1.2.3:99");
        CHECK(property(elements[0], "GANTRY_BORN_MS").empty());
        CHECK(property(elements[1], "GANTRY_BORN_MS") == "5900");
        CHECK(property(elements[2], "GANTRY_BORN_MS") == "4000");
        const RocketMqSend& single = sends->back();
        CHECK(single.code == RequestCode::kSendMessageV2);
        CHECK(single.fields.borntimestamp() == 6'001);
        CHECK(single.fields.flag() == 3);
        CHECK(single.body == "d");
        CHECK(wire::find_property(single.fields.properties(), "GANTRY_BORN_MS").empty());
    }

    TEST_CASE("what is compressed, or too much for a batch, is split off in its turn") {
        CopyProducer::Options options;
        options.compression.method = Compression::Method::kZlib;
        const auto sends = rocketmq_copy(frame_of({copied_of("a"),
                                                   copied_of("b"),
                                                   copied_of(std::string(10'000, 'c')),
                                                   copied_of("d"),
                                                   copied_of("e")}),
                                         options);
        REQUIRE(sends);
        CHECK(sizes_of(*sends) == std::vector<std::size_t>{2, 1, 2});
        CHECK((*sends)[1].fields.sysflag() != 0);
        CHECK((*sends)[1].body.size() < 1'000);
        const auto many =
            rocketmq_copy(frame_of(std::vector<CopiedMessage>(2'500, copied_of("x"))), {});
        REQUIRE(many);
        CHECK(sizes_of(*many) == std::vector<std::size_t>{1'024, 1'024, 452});
        const auto large = rocketmq_copy(
            frame_of(std::vector<CopiedMessage>(5, copied_of(std::string(800'000, 'x')))), {});
        REQUIRE(large);
        CHECK(sizes_of(*large) == std::vector<std::size_t>{2, 2, 1});
    }

    TEST_CASE("words are as the source had them, sizes are held against the limits") {
        CopiedMessage strange = copied_of("x");
        strange.message.tag = "a|b";
        strange.message.keys = {"tab\tinside"};
        CHECK(rocketmq_copy(frame_of({strange}), {}));
        CopyProducer::Options options;
        options.message_bytes_max = 10;
        const auto refused = rocketmq_copy(frame_of({copied_of("eleven byte")}), options);
        CHECK(refused.error().code == Errc::kRefused);
        CHECK(refused.error().detail == "body 11 B > message_bytes_max 10 B");
        strange.message.properties = {{"large", std::string(32'700, 'x')}};
        CHECK(rocketmq_copy(frame_of({strange}), {}).error().code == Errc::kRefused);
    }

    TEST_CASE("a frame is stored when its last batch is, its first error ends it") {
        FakeCluster cluster;
        cluster.create_topic("T", 4);
        StockBroker broker(cluster);
        auto producer = CopyProducer::create(connect_stock(cluster), {}).value();
        CHECK_FALSE(producer->has_numbers());
        REQUIRE(producer->queues("T"));
        CHECK(producer->positions("T", "broker-0").error().code == Errc::kUnsupported);
        CopiedFrame frame = frame_of({copied_of("a", 1'000), copied_of("b", 9'000)});
        frame.queue.broker = producer->queues("T")->front().broker;
        const auto send = [&] {
            auto answer = std::make_shared<std::promise<Result<SendReceipt>>>();
            auto future = answer->get_future();
            REQUIRE(producer->send_async(frame, [answer](Result<SendReceipt> receipt) {
                answer->set_value(std::move(receipt));
            }));
            return future.get();
        };
        CHECK(send());
        CHECK(broker.seen().size() == 2);
        broker.reply_once({{wire::ResponseCode::kMessageIllegal, "too large"}});
        const auto refused = send();
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::kRefused);
        CHECK(broker.seen().size() == 3);
    }
}

}  // namespace gantry::client::test
