// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"
#include "common/result.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "protocol/wire/send_number.h"

#include <cstdint>
#include <string>

namespace gantry::client {

/// What a message is refused for before it takes any memory.
struct MessageLimits {
    std::uint32_t message_bytes_max = 4U << 20U;
    std::uint32_t own_property_bytes = 0;  ///< of all properties, left for the library's own
    bool can_expire = true;                ///< the brokers know a time to live
};

/// Bytes of the property that has a frame's number.
std::size_t number_bytes_of(const wire::SendNumber& number);
inline constexpr std::uint32_t kNumberBytesMax = 48;
static_assert(kNumberBytesMax ==
              wire::property::kSendNumber.size() + 2 + wire::kSendNumberBytesMax);

/// Whether the message may be sent, but for the name of its topic: body and property sizes,
/// blanks in keys, separator characters and reserved names in properties. kRefused. kUnsupported: a
/// time to live, which the brokers do not know.
Status check_message(const Message& message, const MessageLimits& limits);

/// The sizes alone, of a message that a broker has taken before: its words are what they are.
/// kRefused.
Status check_sizes(const Message& message, const MessageLimits& limits);

/// The message's properties as a record has them; `born_ms`: when it was sent.
std::string stored_properties(const Message& message, WallMs born_ms);

/// Bytes of the message's record.
std::size_t record_bytes_of(const Message& message, bool born_v6, bool store_v6) noexcept;

/// Where and when records come from; the same for all records of a batch.
struct RecordOrigin {
    std::int32_t queue_id = 0;
    WallMs born_ms = 0;
    wire::Host born_host;
    bool store_v6 = false;  ///< leaves room for a store host of that family
};

/// Encodes checked messages one behind the other, as the broker stores them.
class RecordWriter {
public:
    /// For the records that follow.
    void set_origin(const RecordOrigin& origin) noexcept { origin_ = origin; }

    /// Appends the record of one message; `body_flags` of sysFlag say what its body is.
    void append(std::string& out, const Message& message, std::int32_t body_flags);
    /// The same, as the first of a numbered frame.
    void append_first(std::string& out,
                      const Message& message,
                      std::int32_t body_flags,
                      const wire::SendNumber& number);

private:
    void append_with(std::string& out, const Message& message, std::int32_t sys_flag);

    RecordOrigin origin_;
    std::string properties_;
};

}  // namespace gantry::client
