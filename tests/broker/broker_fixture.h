// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/broker.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/record.h"
#include "protocol/wire/topic.pb.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

using harness::Answer;
using harness::RpcClient;
using wire::RequestCode;
using wire::ResponseCode;

/// A broker in this process on a store of its own, and connections to it.
class BrokerFixture {
public:
    /// `adjust` changes the options before the first start.
    explicit BrokerFixture(const std::function<void(BrokerOptions&)>& adjust = {});

    /// Stops the broker cleanly and starts it again on the same store.
    void restart();

    void stop() { broker_.reset(); }

    Broker& broker() { return *broker_; }

    RpcClient& native() { return *native_; }

    RpcClient& json() { return *json_; }

    RpcClient& binary() { return *binary_; }

    std::string address() const { return broker_->address(); }

    Clock& clock() { return clock_; }

    /// Creates a topic natively; the code of the answer.
    ResponseCode create_topic(const std::string& topic,
                              std::int32_t queues = 4,
                              std::int32_t perm = 6);

private:
    void start();

    harness::TempDirectory directory_;
    SystemClock clock_;
    std::unique_ptr<FileSystem> files_;
    BrokerOptions options_;
    std::unique_ptr<Broker> broker_;
    std::unique_ptr<RpcClient> native_;
    std::unique_ptr<RpcClient> json_;
    std::unique_ptr<RpcClient> binary_;
};

/// One message for records().
struct TestMessage {
    std::string body;
    std::string tag = {};
    std::string key = {};
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

/// Bodies of the records in `bytes`; a text that says so when they do not parse.
std::vector<std::string> bodies(std::string_view bytes);

/// The first record in `bytes`; `keep` owns what it views.
wire::Record first_record(const std::string& keep);

}  // namespace gantry::broker
