// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/message.pb.h"
#include "tests/harness/rpc_client.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::harness {

/// Creates a topic natively.
Answer create_topic(RpcClient& client,
                    const std::string& topic,
                    std::int32_t queues = 4,
                    std::int32_t perm = 6);

/// Asks a nameserver for the route of a topic.
Answer route(RpcClient& client, const std::string& topic);

/// One message for records().
struct TestMessage {
    std::string body;
    std::string tag = {};
    std::string key = {};
    std::map<std::string, std::string> properties = {};
};

/// The messages in stored form, as Gantry's producers send them.
std::string records(const std::string& topic,
                    std::int32_t queue_id,
                    const std::vector<TestMessage>& messages);

/// Sends records natively.
Answer send(RpcClient& client,
            const std::string& topic,
            std::int32_t queue_id,
            const std::vector<TestMessage>& messages);

/// A stock client's send of one message.
wire::SendMessageRequest stock_send(const std::string& topic, std::int32_t queue_id);

/// A pull that carries its own subscription, of no group.
wire::PullMessageRequest pull_of(const std::string& topic,
                                 std::int32_t queue_id,
                                 std::int64_t offset);

/// The same, held up to `hold_ms`.
wire::PullMessageRequest held_pull_of(const std::string& topic,
                                      std::int32_t queue_id,
                                      std::int64_t offset,
                                      std::int64_t hold_ms);

/// Bodies of everything in a queue, in its order, lost messages left out; the last one tells of a
/// failure, if there was one.
std::vector<std::string> read_queue(RpcClient& client,
                                    const std::string& topic,
                                    std::int32_t queue_id);

/// Bodies of the records in `bytes`; a text that says so when they do not parse.
std::vector<std::string> bodies(std::string_view bytes);

}  // namespace gantry::harness
