// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/clock.h"
#include "common/result.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
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
    /// From the send on; consumers do not get it later. At most 10 years; 0: no end.
    std::chrono::milliseconds time_to_live{0};
    /// When it is to be delivered, at most a year ahead, to 10 ms, by the broker's clock: so long
    /// after the broker has it, or at that time, in ms since 1970. One of the two; 0: at once.
    std::chrono::milliseconds deliver_after{0};
    WallMs deliver_at = 0;

    bool is_delayed() const noexcept { return deliver_after.count() != 0 || deliver_at != 0; }
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
    /// Of a delayed message: AdminClient::cancel_delayed takes it. message_id and queue_offset are
    /// then those of the record that waits.
    std::string recall_handle;
};

/// Why messages will never come.
enum class LostReason : std::uint8_t {
    kDamagedInStore,   ///< the broker has them quarantined, or their bytes are gone
    kDamagedInAnswer,  ///< what the broker sends fails its checks, twice
    kOutOfRange,       ///< the offset did not exist, and the group's policy is to go on behind them
};

/// "damaged_in_store", "damaged_in_answer", "out_of_range".
std::string_view name_of(LostReason reason) noexcept;

/// Messages [from, to) of a queue that will never come; which of them a tag filter would have kept
/// nobody knows any more.
struct LostMessages {
    QueueId queue;
    std::int64_t from = 0;
    std::int64_t to = 0;
    LostReason reason = LostReason::kDamagedInStore;
};

/// Told of lost messages. Must not call back into stop, close or the destructor of its consumer.
using OnLost = std::function<void(const LostMessages&)>;

struct ReceivedBody;

/// A received message: views into the network buffer it came in.
///
/// Lifetime  copies are cheap and keep the buffer alive; the views last as long as any copy. A
///           single kept message keeps the whole answer it came in, up to pull_bytes_max.
/// Threads   immutable.
class MessageView {
public:
    /// Of a message that was sent back: the topic it was first sent to.
    std::string_view topic() const noexcept { return topic_; }

    /// Decompressed, if the sender compressed it.
    std::string_view body() const noexcept { return body_; }

    std::string_view tag() const noexcept { return property("TAGS"); }

    /// Blank-separated words.
    std::string_view keys() const noexcept { return property("KEYS"); }

    /// Value of a property, empty when absent.
    std::string_view property(std::string_view name) const noexcept;

    /// All properties in stored form: name 0x01 value 0x02 ...
    std::string_view raw_properties() const noexcept { return properties_; }

    const std::string& broker() const noexcept;

    std::int32_t queue() const noexcept { return field<std::int32_t>(kQueueAt); }

    std::int64_t queue_offset() const noexcept { return field<std::int64_t>(kQueueOffsetAt); }

    std::int64_t log_offset() const noexcept { return field<std::int64_t>(kLogOffsetAt); }

    WallMs born_ms() const noexcept { return field<std::int64_t>(kBornTimeAt); }

    /// Who sent it first, "host:port".
    std::string born_host() const;

    WallMs store_ms() const noexcept { return field<std::int64_t>(store_time_at()); }

    /// When its time to live ends; 0: it has none.
    WallMs expires_ms() const noexcept;

    /// How often the group has sent it back before.
    std::int32_t reconsume_times() const noexcept;

    std::int32_t flag() const noexcept { return field<std::int32_t>(kFlagAt); }

    /// UNIQ_KEY when the sender set one, else the offset message id.
    std::string message_id() const;
    std::string offset_message_id() const;

private:
    friend class RecordReader;

    static constexpr std::size_t kQueueAt = 12;
    static constexpr std::size_t kFlagAt = 16;
    static constexpr std::size_t kQueueOffsetAt = 20;
    static constexpr std::size_t kLogOffsetAt = 28;
    static constexpr std::size_t kSysFlagAt = 36;
    static constexpr std::size_t kBornTimeAt = 40;
    static constexpr std::size_t kBornHostAt = 48;
    static constexpr std::array<std::byte, 91> kNothing{};  // what a view of no record reads

    template <class T>
    T field(std::size_t at) const noexcept {
        return load_be<T>(record_ + at);
    }

    std::size_t store_time_at() const noexcept;

    std::shared_ptr<const ReceivedBody> origin_;
    const std::byte* record_ = kNothing.data();
    std::string_view topic_;
    std::string_view body_;
    std::string_view properties_;
};

}  // namespace gantry::client
