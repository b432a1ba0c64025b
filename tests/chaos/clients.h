// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace gantry::chaos {

/// What a client process of a chaos run is told.
struct ClientOptions {
    std::vector<std::string> nameservers;
    std::string topic = "chaos";
    std::string name;  ///< in histories; consumers: the group, a '.' and a number
    std::filesystem::path history;
    std::uint32_t per_second = 100;  ///< messages of a producer
    std::size_t body_bytes = 200;
};

/// Each runs until `stops` is set, writes all it does into its history, and brings what is under
/// way to its end before it returns.
/// Threads   one; blocks.
///
/// Sends numbered messages, "name-counter", with an idempotent producer, to one queue after the
/// other.
Status produce(const ClientOptions& options, const std::atomic<bool>& stops);
/// A member of a group that shares the topic out.
Status consume_push(const ClientOptions& options, const std::atomic<bool>& stops);
/// The only reader of a group; commits twice a second, and tells what it committed.
Status consume_pull(const ClientOptions& options, const std::atomic<bool>& stops);

/// Reads every queue from its first message to its last into the history; then what the groups have
/// committed. kTimeout: it did not come to the end within a minute.
Status drain(const ClientOptions& options, const std::vector<std::string>& groups);

/// Makes the topic. Tries again for half a minute.
Status make_topic(const ClientOptions& options, std::int32_t queues);

}  // namespace gantry::chaos
