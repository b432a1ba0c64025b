// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/broker_calls.h"

#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "protocol/wire/topic.pb.h"

namespace gantry::harness {
namespace {

constexpr std::int32_t kSuspend = 2;
constexpr std::int32_t kWithSubscription = 4;

std::string properties_of(const TestMessage& message) {
    std::string properties;
    if (!message.tag.empty()) {
        (void)wire::append_property(properties, wire::property::kTags, message.tag);
    }
    if (!message.key.empty()) {
        (void)wire::append_property(properties, wire::property::kKeys, message.key);
    }
    for (const auto& [name, value] : message.properties) {
        (void)wire::append_property(properties, name, value);
    }
    return properties;
}

}  // namespace

Answer create_topic(RpcClient& client,
                    const std::string& topic,
                    std::int32_t queues,
                    std::int32_t perm) {
    wire::CreateTopicRequest request;
    request.set_topic(topic);
    request.set_readqueuenums(queues);
    request.set_writequeuenums(queues);
    request.set_perm(perm);
    return client.call(wire::RequestCode::kUpdateAndCreateTopic, &request);
}

Answer route(RpcClient& client, const std::string& topic) {
    wire::TopicRequest request;
    request.set_topic(topic);
    return client.call(wire::RequestCode::kGetRouteInfoByTopic, &request);
}

std::string records(const std::string& topic,
                    std::int32_t queue_id,
                    const std::vector<TestMessage>& messages) {
    std::string bytes;
    for (const TestMessage& message : messages) {
        const std::string properties = properties_of(message);
        wire::Record record;
        record.topic = topic;
        record.queue_id = queue_id;
        record.body = as_bytes(message.body);
        record.properties = properties;
        record.born_ms = 1'700'000'000'000;
        const std::size_t at = bytes.size();
        bytes.resize(at + wire::record_bytes(record));
        wire::encode_record(
            record,
            MutableBytes(reinterpret_cast<std::byte*>(bytes.data() + at), bytes.size() - at));
    }
    return bytes;
}

Answer send(RpcClient& client,
            const std::string& topic,
            std::int32_t queue_id,
            const std::vector<TestMessage>& messages) {
    wire::SendRecordsRequest request;
    request.set_topic(topic);
    request.set_queueid(queue_id);
    request.set_count(static_cast<std::uint32_t>(messages.size()));
    for (const TestMessage& message : messages) {
        request.set_haskeys(request.haskeys() || !message.key.empty());
        request.set_hastags(request.hastags() || !message.tag.empty());
    }
    return client.call(
        wire::RequestCode::kSendRecords, &request, records(topic, queue_id, messages));
}

wire::SendMessageRequest stock_send(const std::string& topic, std::int32_t queue_id) {
    wire::SendMessageRequest request;
    request.set_producergroup("PG");
    request.set_topic(topic);
    request.set_defaulttopic("TBW102");
    request.set_defaulttopicqueuenums(4);
    request.set_queueid(queue_id);
    request.set_sysflag(0);
    request.set_borntimestamp(1'700'000'000'000);
    request.set_flag(7);
    return request;
}

wire::PullMessageRequest pull_of(const std::string& topic,
                                 std::int32_t queue_id,
                                 std::int64_t offset) {
    wire::PullMessageRequest request;
    request.set_consumergroup("CG");
    request.set_topic(topic);
    request.set_queueid(queue_id);
    request.set_queueoffset(offset);
    request.set_maxmsgnums(32);
    request.set_sysflag(kWithSubscription);
    request.set_commitoffset(0);
    request.set_suspendtimeoutmillis(0);
    request.set_subscription("*");
    request.set_subversion(0);
    return request;
}

wire::PullMessageRequest held_pull_of(const std::string& topic,
                                      std::int32_t queue_id,
                                      std::int64_t offset,
                                      std::int64_t hold_ms) {
    wire::PullMessageRequest request = pull_of(topic, queue_id, offset);
    request.set_sysflag(kWithSubscription | kSuspend);
    request.set_suspendtimeoutmillis(hold_ms);
    return request;
}

std::vector<std::string> read_queue(RpcClient& client,
                                    const std::string& topic,
                                    std::int32_t queue_id) {
    std::vector<std::string> all;
    std::int64_t offset = 0;
    while (true) {
        wire::PullMessageRequest request = pull_of(topic, queue_id, offset);
        request.set_maxmsgnums(1'000);
        const Answer answer = client.call(wire::RequestCode::kPullMessage, &request);
        if (answer.code == wire::ResponseCode::kPullNotFound) {
            return all;
        }
        const std::int64_t next = answer.fields<wire::PullMessageResponse>().nextbeginoffset();
        // Nothing to deliver there, go on behind it: so are lost messages stepped over.
        const bool is_gap = answer.transport && next > offset &&
                            (answer.code == wire::ResponseCode::kPullRetryImmediately ||
                             answer.code == wire::ResponseCode::kDataLost);
        if (is_gap) {
            offset = next;
            continue;
        }
        if (!answer.transport || answer.code != wire::ResponseCode::kSuccess || next <= offset) {
            all.push_back("pull at " + std::to_string(offset) + ": " + answer.summary());
            return all;
        }
        const std::vector<std::string> some = bodies(answer.body);
        all.insert(all.end(), some.begin(), some.end());
        offset = next;
    }
}

std::vector<std::string> bodies(std::string_view bytes) {
    std::vector<std::string> found;
    const Status walked = wire::for_each_record(
        as_bytes(bytes), [&](const std::byte*, const wire::Record& record) -> Status {
            found.emplace_back(as_text(record.body));
            return ok();
        });
    if (!walked) {
        found.push_back("does not parse: " + walked.error().detail);
    }
    return found;
}

}  // namespace gantry::harness
