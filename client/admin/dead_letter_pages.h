// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin/admin_calls.h"
#include "client/admin_client.h"
#include "common/bytes.h"
#include "common/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// The group whose committed offset in a dead-letter queue says how far its dead letters are dealt
/// with. One for all groups: a group's name and a prefix of it could be too long for a name.
inline constexpr std::string_view kDeadLetterGroup = "GANTRY_SYS_DLQ";

/// A piece of a dead-letter queue: stored records, end to end, or what is lost, or nothing.
struct DeadLetterPage {
    std::shared_ptr<const std::string> records;
    std::int64_t next = 0;  ///< where the queue goes on; where it was asked for: at its end
    std::uint64_t lost = 0;
};

/// A dead-letter queue and the address of the broker that has it.
struct DeadLetterSource {
    DeadLetterQueue letters;
    std::string address;
};

/// Those of `group`, or of every group when it is empty, on all masters; sorted.
Result<std::vector<DeadLetterSource>> find_dead_letters(AdminCalls& calls, std::string_view group);

/// Reads up to `count` records of the queue from `from` on.
Result<DeadLetterPage> read_page(AdminCalls& calls,
                                 const std::string& address,
                                 const QueueId& queue,
                                 std::int64_t from,
                                 std::uint32_t count);

/// Says that what is below `offset` is dealt with, and waits until that is as durable as messages.
Status commit_dead_letters(AdminCalls& calls,
                           const std::string& address,
                           const QueueId& queue,
                           std::int64_t offset);

}  // namespace gantry::client
