// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/broker.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "protocol/wire/record.h"
#include "protocol/wire/topic.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gantry::broker {

using harness::Answer;
using harness::bodies;
using harness::held_pull_of;
using harness::pull_of;
using harness::read_queue;
using harness::records;
using harness::RpcClient;
using harness::send;
using harness::stock_send;
using harness::TestMessage;
using wire::RequestCode;
using wire::ResponseCode;

/// A broker in this process on a store of its own, and connections to it.
class BrokerFixture {
public:
    /// `adjust` changes the options before the first start.
    explicit BrokerFixture(const std::function<void(BrokerOptions&)>& adjust = {},
                           std::unique_ptr<FileSystem> files = make_posix_file_system());

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

/// The first record in `bytes`; `keep` owns what it views.
wire::Record first_record(const std::string& keep);

}  // namespace gantry::broker
