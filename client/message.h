// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/clock.h"
#include "common/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::client {

/// A message to send.
///
/// Limits    topic 127 bytes of [%|a-zA-Z0-9_-]; body message_bytes_max of the broker (4 MiB);
///           all properties together 32,767 bytes in stored form.
struct Message {
    std::string topic;
    std::string body;
    std::string tag;
    std::vector<std::string> keys;  ///< words to find the message by; no blanks inside
    std::vector<std::pair<std::string, std::string>> properties;
    std::int32_t flag = 0;  ///< free for the application
};

/// Names one queue in the cluster.
struct QueueId {
    std::string topic;
    std::string broker;
    std::int32_t queue = 0;

    auto operator<=>(const QueueId&) const = default;
};

/// Where the broker put one message. Equal receipts mean the same stored message.
struct SendReceipt {
    QueueId queue;
    std::int64_t queue_offset = 0;
    std::string message_id;  ///< offset message id: 32 or 56 hex characters
};

/// A received message: views into the network buffer it came in.
///
/// Lifetime  copies are cheap and keep the buffer alive; the views last as long as any copy.
/// Threads   immutable.
class MessageView {
public:
    std::string_view topic() const noexcept { return topic_; }

    std::string_view body() const noexcept { return body_; }

    std::string_view tag() const noexcept { return property("TAGS"); }

    /// Blank-separated words.
    std::string_view keys() const noexcept { return property("KEYS"); }

    /// Value of a property, empty when absent.
    std::string_view property(std::string_view name) const noexcept;

    /// All properties in stored form: name 0x01 value 0x02 ...
    std::string_view raw_properties() const noexcept { return properties_; }

    const std::string& broker() const noexcept { return *broker_; }

    std::int32_t queue() const noexcept { return queue_; }

    std::int64_t queue_offset() const noexcept { return queue_offset_; }

    std::int64_t log_offset() const noexcept { return log_offset_; }

    WallMs born_ms() const noexcept { return born_ms_; }

    WallMs store_ms() const noexcept { return store_ms_; }

    std::int32_t reconsume_times() const noexcept { return reconsume_times_; }

    std::int32_t flag() const noexcept { return flag_; }

    /// UNIQ_KEY when the sender set one, else the offset message id.
    std::string message_id() const;
    std::string offset_message_id() const;

private:
    friend class RecordReader;

    std::string_view topic_;
    std::string_view body_;
    std::string_view properties_;
    std::shared_ptr<const void> pin_;
    std::shared_ptr<const std::string> broker_;
    Bytes record_;
    std::int32_t queue_ = 0;
    std::int64_t queue_offset_ = 0;
    std::int64_t log_offset_ = 0;
    WallMs born_ms_ = 0;
    WallMs store_ms_ = 0;
    std::int32_t reconsume_times_ = 0;
    std::int32_t flag_ = 0;
};

}  // namespace gantry::client
