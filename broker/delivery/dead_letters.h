// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::broker {

struct Context;
class LoopState;
class TopicCreator;

/// A message's properties for the next delivery to its group: without a delay level, with where it
/// came from.
std::string retry_properties(const wire::Record& original);

/// Where messages go that a group could not handle, however often they were delivered to it.
///
/// Threads   any loop.
class DeadLetters {
public:
    DeadLetters(Context& context, TopicCreator& creator) : context_(context), creator_(creator) {}

    /// Stores a copy of `original`, delivered `reconsume_times` times again, in the group's
    /// dead-letter topic, made when it is missing. The end of what has to be durable. Errors of
    /// the store.
    Result<LogOffset> append(LoopState& loop,
                             std::string_view group,
                             const wire::Record& original,
                             std::int32_t reconsume_times);

private:
    Context& context_;
    TopicCreator& creator_;
};

}  // namespace gantry::broker
