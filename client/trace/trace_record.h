// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// Where traces go, RocketMQ's name.
inline constexpr std::string_view kTraceTopic = "RMQ_SYS_TRACE_TOPIC";

/// One thing that happened to a message, as RocketMQ's clients write it down: fields with 0x01
/// between them, 0x02 behind the last. Which fields a record has depends on its kind; the others
/// are as they are made here.
struct TraceRecord {
    /// RocketMQ's name of it is the record's first field.
    enum class Kind : std::uint8_t {
        kPub,             ///< a send ended
        kSubBefore,       ///< a listener is about to be given the message
        kSubAfter,        ///< it has returned
        kEndTransaction,  ///< a transaction's outcome was told
    };

    Kind kind = Kind::kPub;
    WallMs at_ms = 0;
    std::string region = "DefaultRegion";
    std::string group;
    std::string topic;
    std::string message_id;  ///< UNIQ_KEY
    std::string tags;
    std::string keys;
    std::string store_host;
    std::string offset_message_id;
    std::string request_id;         ///< joins kSubBefore and kSubAfter
    std::string transaction_state;  ///< COMMIT_MESSAGE, ROLLBACK_MESSAGE
    std::int64_t body_bytes = 0;
    std::int64_t cost_ms = 0;
    std::int32_t message_type = 0;  ///< 0 normal, 1 half, 2 committed, 3 delayed, 4 ordered
    std::int32_t retries = 0;
    std::int32_t context_code = 0;  ///< kSubAfter: 0 success, 2 exception, 4 failed
    bool is_success = true;
};

/// Appends the record in its text form. Separators in fields become blanks.
void append_trace(std::string& out, const TraceRecord& record);

/// The records of a trace message's body. What does not parse, or is of another kind, is left out.
std::vector<TraceRecord> parse_traces(std::string_view body);

/// Whether a message with that UNIQ_KEY is among the traced: the same for all who use `sample`, and
/// whoever uses a larger one traces it too. 0: none, 1: all.
bool is_traced(std::string_view message_id, double sample) noexcept;

}  // namespace gantry::client
