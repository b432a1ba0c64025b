// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/message.pb.h"
#include "tests/harness/rpc_client.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace gantry::harness {

/// What to ask for.
struct PopAsk {
    std::string topic = "T";
    std::string group = "G";
    std::int32_t queue_id = -1;
    std::int32_t count = 32;
    std::int64_t invisible_ms = 60'000;
    std::int64_t poll_ms = 0;
    bool begins_at_end = false;
    std::string expression_type{};
    std::string expression{};
};

wire::PopMessageRequest pop_of(const PopAsk& ask);

/// A message that was popped.
struct PoppedRecord {
    std::string topic;
    std::string body;
    std::int32_t queue_id = 0;
    std::int64_t offset = 0;
    std::int32_t reconsume_times = 0;
    std::int64_t pop_time = 0;
    std::string extra_info;  ///< the receipt as stock clients build it
};

/// An answer to a pop.
struct Popped {
    Answer answer;
    wire::PopMessageResponse fields;
    std::vector<PoppedRecord> messages;

    /// "0 a b c", or the code alone.
    std::string summary() const;
};

/// What a pop's answer says; receipts are built of the offsets it names, or those of the records.
Popped popped_of(Answer answer);
Popped pop(RpcClient& client, const PopAsk& ask = {});

/// Acknowledges one message (200051).
Answer acknowledge(RpcClient& client, const PoppedRecord& message, const std::string& group = "G");
/// Changes how long it is kept from others (200053).
Answer change_time(RpcClient& client,
                   const PoppedRecord& message,
                   std::int64_t invisible_ms,
                   const std::string& group = "G");

}  // namespace gantry::harness
