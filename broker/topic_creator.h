// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"
#include "storage/types.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::storage {
class Topic;
}

namespace gantry::broker {

struct Context;
class LoopState;

/// Changes topics and groups: logs the change, then lets the nameservers and parked pulls know.
///
/// Threads   any loop.
/// Errors    what StateMachine::commit gives; nothing was changed then.
class TopicCreator {
public:
    explicit TopicCreator(Context& context) : context_(context) {}

    /// Logs `changes` and tells the nameservers about the topics among them.
    Result<storage::Appended> commit(LoopState& loop, const wire::StateRecord& changes);

    /// The topic of that name, made with as many read as write queues when it is missing.
    Result<storage::Topic*> ensure(LoopState& loop,
                                   std::string_view name,
                                   std::int32_t queues,
                                   std::int32_t perm);
    /// %RETRY%group with the queue number of the group's configuration.
    Result<storage::Topic*> ensure_retry(LoopState& loop, std::string_view group);
    /// %DLQ%group with one queue.
    Result<storage::Topic*> ensure_dead_letter(LoopState& loop, std::string_view group);

    /// Lets limits of rates that the state machine has take effect.
    void reload_limits();

private:
    Context& context_;
    Mutex limits_mutex_;
};

/// The configuration a new topic starts from.
wire::TopicConfig make_topic_config(std::string_view name, std::int32_t queues, std::int32_t perm);

/// The configuration of a group nobody configured: RocketMQ's defaults.
wire::SubscriptionGroupConfig make_group_config(std::string_view name);

}  // namespace gantry::broker
