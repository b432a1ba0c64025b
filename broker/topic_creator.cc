// SPDX-License-Identifier: Apache-2.0
#include "broker/topic_creator.h"

#include "broker/context.h"
#include "broker/loop_state.h"
#include "broker/registrar.h"
#include "common/log.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;
constexpr std::int32_t kRetryMaxTimes = 16;

}  // namespace

wire::TopicConfig make_topic_config(std::string_view name, std::int32_t queues, std::int32_t perm) {
    wire::TopicConfig config;
    config.set_topicname(std::string(name));
    config.set_readqueuenums(queues);
    config.set_writequeuenums(queues);
    config.set_perm(perm);
    config.set_topicfiltertype("SINGLE_TAG");
    config.set_topicsysflag(0);
    config.set_order(false);
    return config;
}

wire::SubscriptionGroupConfig make_group_config(std::string_view name) {
    wire::SubscriptionGroupConfig config;
    config.set_groupname(std::string(name));
    config.set_brokerid(0);
    config.set_whichbrokerwhenconsumeslowly(1);
    config.set_consumeenable(true);
    config.set_consumebroadcastenable(true);
    config.set_consumefromminenable(true);
    config.set_notifyconsumeridschangedenable(true);
    config.set_retrymaxtimes(kRetryMaxTimes);
    config.set_retryqueuenums(1);
    return config;
}

Result<storage::Appended> TopicCreator::commit(LoopState& loop, const wire::StateRecord& changes) {
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended,
                            context_.store->state().commit(changes));
    bool has_topics = false;
    bool has_limits = false;
    for (const wire::StateChange& change : changes.changes()) {
        if (change.has_topicput()) {
            has_topics = true;
            kLog.info("topic_put",
                      {{"topic", change.topicput().topicname()},
                       {"read_queues", change.topicput().readqueuenums()},
                       {"write_queues", change.topicput().writequeuenums()},
                       {"perm", change.topicput().perm()}});
            context_.registrar->topic_put(change.topicput());
            if (storage::Topic* const t =
                    context_.store->find_topic(change.topicput().topicname())) {
                loop.topic_changed(*t);
            }
        } else if (!change.topicdelete().empty()) {
            has_topics = true;
            kLog.info("topic_delete", {{"topic", change.topicdelete()}});
            context_.registrar->topic_deleted(change.topicdelete());
        }
        has_limits = has_limits || change.has_flowput() || !change.topicdelete().empty() ||
                     !change.groupdelete().empty();
    }
    if (has_limits) {
        reload_limits();
    }
    if (has_topics) {
        context_.registrar->topics_changed();
    }
    return appended;
}

/// One at a time: the newest limits are the last to be set.
void TopicCreator::reload_limits() {
    const MutexLock lock(limits_mutex_);
    context_.flow.set(context_.store->state().flow_limits());
}

Result<storage::Topic*> TopicCreator::ensure(LoopState& loop,
                                             std::string_view name,
                                             std::int32_t queues,
                                             std::int32_t perm) {
    if (storage::Topic* const topic = context_.store->find_topic(name)) {
        return topic;
    }
    wire::StateRecord record;
    *record.add_changes()->mutable_topicput() = make_topic_config(name, queues, perm);
    GANTRY_TRY(commit(loop, record));
    storage::Topic* const topic = context_.store->find_topic(name);
    if (topic == nullptr) {
        return Error{Errc::kNotFound, "topic[" + std::string(name) + "] was deleted meanwhile"};
    }
    return topic;
}

Result<storage::Topic*> TopicCreator::ensure_retry(LoopState& loop, std::string_view group) {
    const auto config = context_.store->state().group(group);
    const std::int32_t queues = config ? std::max(config->retryqueuenums(), 1) : 1;
    return ensure(loop, wire::retry_topic(group), queues, kReadWrite);
}

Result<storage::Topic*> TopicCreator::ensure_dead_letter(LoopState& loop, std::string_view group) {
    return ensure(loop, wire::dead_letter_topic(group), 1, kReadWrite);
}

}  // namespace gantry::broker
