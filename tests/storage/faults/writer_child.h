// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/types.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gantry::storage {

inline constexpr std::int32_t kWriterQueues = 3;

/// What a writer said: the message of that queue offset is durable.
struct Acknowledged {
    std::int64_t queue_offset = 0;
    std::int32_t queue = 0;
    std::uint32_t number = 0;
};

/// What a process that writes to a store does.
struct WriterPlan {
    StoreOptions options;
    std::string failpoints;          ///< set before the store is opened
    std::uint64_t seed = 0;          ///< sizes, batches, moments of flushes
    std::uint32_t first_number = 0;  ///< of its messages, which count on from there
    std::uint32_t appends = 100;     ///< before it closes the store and ends
};

/// How that went.
struct WriterEnd {
    std::vector<Acknowledged> acknowledged;
    bool was_killed = false;  ///< by SIGKILL; otherwise it has ended well
};

/// Size of a message's body, by its number.
std::size_t writer_body_bytes(std::uint32_t number) noexcept;
/// A key that only that message has.
std::string writer_key(std::uint32_t number);

/// Runs a process that opens the store with sync flush, makes the topic "t" where it is missing,
/// appends, and says what became durable, until it has done so or is killed. Fails the case when it
/// ends in any other way.
WriterEnd run_writer(const WriterPlan& plan);

}  // namespace gantry::storage
