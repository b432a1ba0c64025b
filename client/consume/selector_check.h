// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/record_reader.h"
#include "client/message_selector.h"
#include "common/result.h"

#include <string>
#include <string_view>

namespace gantry::wire {
class SubscriptionData;
}

namespace gantry::client {

class LoopSlot;
class Runtime;

/// RocketMQ's name of the selector's kind.
std::string_view type_of(const MessageSelector& selector) noexcept;

/// One topic a consumer wants, checked.
struct Subscription {
    MessageSelector selector;
    TagFilter filter;  ///< for the check behind the broker's; everything with an SQL selector
};

/// kRefused: a tag expression without a tag.
Result<Subscription> make_subscription(const MessageSelector& selector);

/// What a heartbeat says of it.
void describe(const MessageSelector& selector, wire::SubscriptionData& into);

/// Asks a broker of the topic whether it takes the expression; blocks, at most 3 s a broker. A
/// topic that is not there yet, and brokers that do not answer, leave it to the pulls. kRefused: it
/// does not parse, says where and why. kUnsupported: the brokers do not filter by SQL.
Status check_selector(Runtime& runtime,
                      LoopSlot& slot,
                      const std::string& topic,
                      const MessageSelector& selector);

}  // namespace gantry::client
