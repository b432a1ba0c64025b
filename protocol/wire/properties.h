// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::wire {

/// Names of properties the broker or the clients act on. Source: RocketMQ's reserved list.
namespace property {
inline constexpr std::string_view kKeys = "KEYS";
inline constexpr std::string_view kTags = "TAGS";
inline constexpr std::string_view kWait = "WAIT";
inline constexpr std::string_view kDelay = "DELAY";
inline constexpr std::string_view kUniqueKey = "UNIQ_KEY";
inline constexpr std::string_view kRetryTopic = "RETRY_TOPIC";
inline constexpr std::string_view kOriginMessageId = "ORIGIN_MESSAGE_ID";
inline constexpr std::string_view kCluster = "CLUSTER";
inline constexpr std::string_view kRealTopic = "REAL_TOPIC";
inline constexpr std::string_view kRealQueueId = "REAL_QID";
inline constexpr std::string_view kProducerGroup = "PGROUP";
inline constexpr std::string_view kHalf = "TRAN_MSG";  ///< "true" in a half message
inline constexpr std::string_view kCheckImmunity = "CHECK_IMMUNITY_TIME_IN_SECONDS";
inline constexpr std::string_view kCheckTimes = "TRANSACTION_CHECK_TIMES";
inline constexpr std::string_view kExpiresAt = "GANTRY_EXPIRES_AT";  ///< ms since 1970
inline constexpr std::string_view kTimerDelaySeconds = "TIMER_DELAY_SEC";
inline constexpr std::string_view kTimerDelayMs = "TIMER_DELAY_MS";
inline constexpr std::string_view kTimerDeliverMs = "TIMER_DELIVER_MS";
inline constexpr std::string_view kTimerOutMs = "TIMER_OUT_MS";  ///< of a waiting record: its due
inline constexpr std::string_view kTimerRollTimes = "TIMER_ROLL_TIMES";
inline constexpr std::string_view kCorrelationId = "CORRELATION_ID";
inline constexpr std::string_view kReplyTo = "REPLY_TO_CLIENT";
inline constexpr std::string_view kReplyTtl = "TTL";          ///< ms
inline constexpr std::string_view kMessageType = "MSG_TYPE";  ///< "reply"
inline constexpr std::string_view kReplyPushedAt = "PUSH_REPLY_TIME";
inline constexpr std::string_view kSendNumber = "GSEQ";  ///< Gantry's, see send_number.h
}  // namespace property

inline constexpr char kNameValueSeparator = '\x01';
inline constexpr char kPropertySeparator = '\x02';

/// The value of `name` in a property string ("name 0x01 value 0x02 ..."), empty when absent.
/// Later duplicates win, as in RocketMQ.
std::string_view find_property(std::string_view properties, std::string_view name) noexcept;

/// Calls `each(name, value)` for every well-formed property, in order.
template <class Each>
void for_each_property(std::string_view properties, Each&& each) {
    while (!properties.empty()) {
        const std::size_t end = properties.find(kPropertySeparator);
        const std::string_view item = properties.substr(0, end);
        const std::size_t middle = item.find(kNameValueSeparator);
        if (middle != std::string_view::npos && middle > 0 && middle + 1 < item.size()) {
            each(item.substr(0, middle), item.substr(middle + 1));
        }
        if (end == std::string_view::npos) {
            return;
        }
        properties.remove_prefix(end + 1);
    }
}

/// Appends one property. kRefused: empty name or value, or a separator character inside.
Status append_property(std::string& properties, std::string_view name, std::string_view value);

/// Copy of `properties` without any property called `name`.
std::string without_property(std::string_view properties, std::string_view name);

/// Java's String.hashCode of UTF-8 `tag`, sign-extended: what a consume-queue unit stores. 0 for
/// no tag.
std::int64_t tag_hash(std::string_view tag) noexcept;

}  // namespace gantry::wire
