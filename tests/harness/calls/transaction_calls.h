// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/message.pb.h"
#include "protocol/wire/record.h"
#include "tests/harness/rpc_client.h"

#include <cstdint>
#include <string>

namespace gantry::harness {

inline constexpr std::int32_t kCommit = wire::sys_flag::kTransactionCommit;
inline constexpr std::int32_t kRollback = wire::sys_flag::kTransactionRollback;

/// A half message as its producer knows it.
struct Half {
    std::string group = "PG";
    std::string key;
    std::int64_t log_offset = -1;
    std::int64_t queue_offset = -1;
    Answer answer;
};

/// What to send.
struct HalfMessage {
    std::string body;
    std::string topic = "T";
    std::int32_t queue_id = 0;
    std::string immunity_seconds{};  ///< empty: the broker's
    std::string delay{};             ///< level
};

/// Sends a half message as stock clients do; its key is that of the body.
Half send_half(RpcClient& client, const HalfMessage& message);

/// What a producer says of its transaction: commit, rollback or that it does not know.
wire::EndTransactionRequest end_request(const Half& half,
                                        std::int32_t commit_or_rollback,
                                        bool is_from_check = false);

/// Says so and waits for the answer.
Answer end_transaction(RpcClient& client,
                       const Half& half,
                       std::int32_t commit_or_rollback,
                       bool is_from_check = false);

/// A heartbeat of a producer of group PG.
Answer join_producers(RpcClient& client, const std::string& client_id);

/// The half message the broker asks about next, as its producer has to name it.
Half next_question(RpcClient& client, std::chrono::milliseconds limit = RpcClient::kPatience);

}  // namespace gantry::harness
