// SPDX-License-Identifier: Apache-2.0
#include "storage/state_machine.h"

#include "common/check.h"
#include "storage/flow/flow_limits.h"
#include "storage/offset_table.h"
#include "storage/pop/pop_table.h"
#include "storage/state_checks.h"
#include "storage/topic_table.h"
#include "storage/transaction/transactions.h"

#include <algorithm>
#include <map>
#include <utility>

namespace gantry::storage {
namespace {

wire::OffsetPut committed_of(const wire::PopPut& pop) {
    wire::OffsetPut put;
    put.set_group(pop.group());
    put.set_topic(pop.topic());
    put.set_queueid(pop.queueid());
    put.set_offset(pop.committed());
    return put;
}

/// An epoch that is not newer than those known says nothing: its record is a repeat.
void begin_epoch(EpochList& epochs, const wire::EpochPut& put, LogOffset at) {
    if (put.epoch() > newest_epoch(epochs)) {
        const LogOffset start = put.start() > 0 ? LogOffset(put.start()) : at;
        epochs.push_back({put.epoch(), put.id(), std::min(start, at)});
    }
}

void count_version(wire::DataVersion& version, WallMs at_ms) {
    version.set_counter(version.counter() + 1);
    version.set_timestamp(at_ms);
}

template <class Values>
auto values_of(const Values& map) {
    std::vector<typename Values::mapped_type> values;
    values.reserve(map.size());
    for (const auto& [name, value] : map) {
        values.push_back(value);
    }
    return values;
}

template <class Values>
std::optional<typename Values::mapped_type> value_of(const Values& map, std::string_view name) {
    const auto found = map.find(name);
    return found != map.end() ? std::optional(found->second) : std::nullopt;
}

}  // namespace

struct LogStateMachine::State {
    std::map<std::string, wire::TopicConfig, std::less<>> topics;
    std::map<std::string, wire::SubscriptionGroupConfig, std::less<>> groups;
    OffsetTable offsets;
    FlowLimits flows;
    EpochList epochs;
    wire::DataVersion version;
    LogOffset folded;  ///< records below it are in
    QueueOffset next;  ///< position of the next record in the state topic's queue
};

LogStateMachine::LogStateMachine(TopicTable& topics, Append append)
    : topics_(topics),
      pops_(std::make_unique<PopTable>()),
      append_(std::move(append)),
      state_(std::make_unique<State>()) {
    state_->version.set_counter(0);
    state_->version.set_stateversion(0);
    state_->version.set_timestamp(0);
}

LogStateMachine::~LogStateMachine() = default;

void LogStateMachine::set_append(Append append) {
    const MutexLock commit(commit_mutex_);
    append_ = std::move(append);
}

void LogStateMachine::set_read_only(std::string why) {
    const MutexLock commit(commit_mutex_);
    read_only_ = std::move(why);
}

Status LogStateMachine::may_commit() const {
    if (!read_only_.empty()) {
        return Error{Errc::kReadOnly, read_only_};
    }
    return append_ ? ok() : Status(Error{Errc::kClosed, "the state machine has no log"});
}

Status LogStateMachine::in_order(const std::function<Status()>& step) {
    const MutexLock commit(commit_mutex_);
    return step();
}

Status LogStateMachine::restore(const wire::StateSnapshot& snapshot) {
    if (Status legal = check_snapshot(snapshot); !legal) {
        return Error{Errc::kCorrupt, "state snapshot: " + legal.error().detail};
    }
    const MutexLock commit(commit_mutex_);
    const MutexLock lock(mutex_);
    for (const wire::TopicConfig& topic : snapshot.topics()) {
        state_->topics[topic.topicname()] = topic;
        topics_.put(topic);
    }
    for (const wire::SubscriptionGroupConfig& group : snapshot.groups()) {
        state_->groups[group.groupname()] = group;
    }
    for (const wire::OffsetPut& put : snapshot.offsets()) {
        state_->offsets.put(put);
    }
    for (const wire::PopPut& put : snapshot.pops()) {
        pops_->apply(put);
    }
    GANTRY_TRY(order_.restore(snapshot));
    for (const wire::FlowLimit& limit : snapshot.flowlimits()) {
        state_->flows.put(limit);
    }
    for (const wire::EpochMark& mark : snapshot.epochs()) {
        state_->epochs.push_back({mark.epoch(), mark.id(), LogOffset(mark.start())});
    }
    GANTRY_TRY(transactions_.restore(snapshot));
    GANTRY_TRY(timers_.restore(snapshot));
    GANTRY_TRY(producers_.restore(snapshot.producers()));
    state_->version.MergeFrom(snapshot.topicversion());
    state_->folded = LogOffset(snapshot.logoffset());
    state_->next = QueueOffset(snapshot.statequeueoffset());
    return ok();
}

Status LogStateMachine::replay(const LoggedChange& logged, bool drop_queues) {
    wire::StateRecord changes;
    if (!changes.ParseFromArray(logged.body.data(), static_cast<int>(logged.body.size()))) {
        return Error{
            Errc::kCorrupt,
            "state record at log offset " + std::to_string(logged.at.value) + " does not parse"};
    }
    if (Status legal = check_changes(changes); !legal) {
        return Error{Errc::kCorrupt,
                     "state record at log offset " + std::to_string(logged.at.value) + ": " +
                         legal.error().detail};
    }
    if (logged.at >= folded()) {
        Appended appended;
        appended.first = logged.at;
        appended.end = logged.end;
        appended.queue_offset = logged.queue_offset;
        appended.store_ms = logged.store_ms;
        apply(changes, appended, drop_queues);
        return ok();
    }
    for (const wire::StateChange& change : changes.changes()) {
        if (drop_queues && change.change_case() == wire::StateChange::kTopicDelete) {
            topics_.drop_queues(change.topicdelete());
        }
    }
    return ok();
}

void LogStateMachine::replay_transaction(const wire::Record& record, LogOffset at) {
    const bool opens = record.topic == kHalfTopic;
    if (!opens && record.prepared_transaction_offset <= 0) {
        return;
    }
    {
        const MutexLock lock(mutex_);
        if (at < state_->folded) {
            return;
        }
    }
    if (opens) {
        transactions_.open(transaction_of(record));
    } else if ((record.sys_flag & wire::sys_flag::kEndsTimer) != 0) {
        timers_.delivered(LogOffset(record.prepared_transaction_offset));
    } else {
        transactions_.close(LogOffset(record.prepared_transaction_offset));
    }
}

LogOffset LogStateMachine::folded() const {
    const MutexLock lock(mutex_);
    return state_->folded;
}

Result<Appended> LogStateMachine::commit(const wire::StateRecord& changes) {
    return commit_if(changes, [] { return ok(); });
}

Result<Appended> LogStateMachine::commit_in_order(const std::function<Result<Appended>()>& append) {
    const MutexLock commit(commit_mutex_);
    if (!read_only_.empty()) {
        return Error{Errc::kReadOnly, read_only_};
    }
    Result<Appended> appended = append();
    if (appended) {
        const MutexLock lock(mutex_);
        state_->folded = appended->end;
    }
    return appended;
}

Result<Appended> LogStateMachine::commit_pops(const std::function<wire::StateRecord()>& take) {
    const MutexLock commit(commit_mutex_);
    GANTRY_TRY(may_commit());
    const wire::StateRecord changes = take();
    if (changes.changes().empty()) {
        return Appended{};
    }
    Result<Appended> appended = append_(changes.SerializeAsString());
    if (!appended) {
        return appended;
    }
    const MutexLock lock(mutex_);
    for (const wire::StateChange& change : changes.changes()) {
        state_->offsets.put(committed_of(change.popput()));
    }
    state_->folded = appended->end;
    state_->next = appended->queue_offset + 1;
    return appended;
}

Result<Appended> LogStateMachine::commit_if(const wire::StateRecord& changes,
                                            const std::function<Status()>& may) {
    GANTRY_TRY(check_changes(changes));
    std::string body = changes.SerializeAsString();
    const MutexLock commit(commit_mutex_);
    GANTRY_TRY(may_commit());
    GANTRY_TRY(may());
    // Sealed before the deletion is in the log: all records of the topic then lie before it.
    for (const wire::StateChange& change : changes.changes()) {
        if (change.change_case() == wire::StateChange::kTopicDelete) {
            topics_.seal(change.topicdelete());
        }
    }
    Result<Appended> appended = append_(std::move(body));
    if (!appended) {
        for (const wire::StateChange& change : changes.changes()) {
            if (change.change_case() == wire::StateChange::kTopicDelete) {
                topics_.unseal(change.topicdelete());
            }
        }
        return appended;
    }
    apply(changes, *appended, true);
    return appended;
}

void LogStateMachine::remove_topic(const std::string& name, bool drop_queues) {
    state_->topics.erase(name);
    state_->offsets.remove_topic(name);
    order_.remove_topic(name);
    producers_.remove_topic(name);
    pops_->remove_topic(name);
    state_->flows.remove("topic", name);
    topics_.remove(name, drop_queues);
}

void LogStateMachine::remove_group(const std::string& name) {
    state_->groups.erase(name);
    state_->offsets.remove_group(name);
    order_.remove_group(name);
    pops_->remove_group(name);
    state_->flows.remove("group", name);
}

void LogStateMachine::apply(const wire::StateRecord& changes,
                            const Appended& logged,
                            bool drop_queues) {
    const MutexLock lock(mutex_);
    for (const wire::StateChange& change : changes.changes()) {
        apply_one(change, logged, drop_queues);
    }
    state_->folded = logged.end;
    state_->next = logged.queue_offset + 1;
}

void LogStateMachine::apply_one(const wire::StateChange& change,
                                const Appended& logged,
                                bool drop_queues) {
    State& state = *state_;
    const WallMs at_ms = logged.store_ms;
    switch (change.change_case()) {
        case wire::StateChange::kTopicPut:
            state.topics[change.topicput().topicname()] = change.topicput();
            topics_.put(change.topicput());
            count_version(state.version, at_ms);
            break;
        case wire::StateChange::kTopicDelete:
            remove_topic(change.topicdelete(), drop_queues);
            count_version(state.version, at_ms);
            break;
        case wire::StateChange::kGroupPut:
            state.groups[change.groupput().groupname()] = change.groupput();
            break;
        case wire::StateChange::kGroupDelete:
            remove_group(change.groupdelete());
            break;
        case wire::StateChange::kOffsetPut:
            state.offsets.put(change.offsetput());
            pops_->reset(change.offsetput().group(),
                         change.offsetput().topic(),
                         change.offsetput().queueid(),
                         QueueOffset(change.offsetput().offset()));
            break;
        case wire::StateChange::kTransactionAsked:
            transactions_.asked(LogOffset(change.transactionasked().half()), at_ms);
            break;
        case wire::StateChange::kTransactionEnd:
            transactions_.close(LogOffset(change.transactionend().half()));
            break;
        case wire::StateChange::kPopPut:
            pops_->apply(change.popput());
            state.offsets.put(committed_of(change.popput()));
            break;
        case wire::StateChange::kTimerProgress:
            timers_.progress(change.timerprogress());
            break;
        case wire::StateChange::kTimerCancel:
            timers_.cancel(LogOffset(change.timercancel().at()), change.timercancel().due());
            break;
        case wire::StateChange::kQueueLockPut:
        case wire::StateChange::kParkedPut:
        case wire::StateChange::kParkedChange:
            order_.apply(change, at_ms);
            break;
        case wire::StateChange::kFlowPut:
            state.flows.put(change.flowput());
            break;
        case wire::StateChange::kEpochPut:
            begin_epoch(state.epochs, change.epochput(), logged.first);
            break;
        case wire::StateChange::CHANGE_NOT_SET:
            break;
    }
}

wire::StateSnapshot LogStateMachine::snapshot(const std::function<LogOffset()>& published) const {
    wire::StateSnapshot snapshot;
    const MutexLock commit(commit_mutex_);
    {
        const MutexLock lock(mutex_);
        snapshot.set_logoffset(std::max(published(), state_->folded).value);
        snapshot.set_statequeueoffset(state_->next.value);
        *snapshot.mutable_topicversion() = state_->version;
        for (const auto& [name, topic] : state_->topics) {
            *snapshot.add_topics() = topic;
        }
        for (const auto& [name, group] : state_->groups) {
            *snapshot.add_groups() = group;
        }
        state_->offsets.for_each(
            [&](const wire::OffsetPut& put) { *snapshot.add_offsets() = put; });
        order_.save(snapshot);
        transactions_.save(snapshot);
        timers_.save(snapshot);
        pops_->save(snapshot);
        state_->flows.save(snapshot);
        for (const EpochStart& epoch : state_->epochs) {
            wire::EpochMark& mark = *snapshot.add_epochs();
            mark.set_epoch(epoch.epoch);
            mark.set_id(epoch.id);
            mark.set_start(epoch.start.value);
        }
    }
    if (producers_.size() > 0) {
        producers_.save(*snapshot.mutable_producers());
    }
    return snapshot;
}

EpochList LogStateMachine::epochs() const {
    const MutexLock lock(mutex_);
    return state_->epochs;
}

LogOffset durable_end(const wire::StateSnapshot& snapshot) noexcept {
    return LogOffset(std::max(snapshot.logoffset(), snapshot.producers().end()));
}

std::optional<wire::TopicConfig> LogStateMachine::topic(std::string_view name) const {
    const MutexLock lock(mutex_);
    return value_of(state_->topics, name);
}

std::vector<wire::TopicConfig> LogStateMachine::topics() const {
    const MutexLock lock(mutex_);
    return values_of(state_->topics);
}

wire::DataVersion LogStateMachine::topic_version() const {
    const MutexLock lock(mutex_);
    return state_->version;
}

std::optional<wire::SubscriptionGroupConfig> LogStateMachine::group(std::string_view name) const {
    const MutexLock lock(mutex_);
    return value_of(state_->groups, name);
}

std::vector<wire::SubscriptionGroupConfig> LogStateMachine::groups() const {
    const MutexLock lock(mutex_);
    return values_of(state_->groups);
}

std::optional<std::int64_t> LogStateMachine::offset(std::string_view group,
                                                    std::string_view topic,
                                                    std::int32_t queue_id) const {
    const MutexLock lock(mutex_);
    return state_->offsets.find(group, topic, queue_id);
}

std::vector<wire::OffsetPut> LogStateMachine::offsets_of_group(std::string_view group) const {
    const MutexLock lock(mutex_);
    return state_->offsets.of_group(group);
}

std::vector<wire::FlowLimit> LogStateMachine::flow_limits() const {
    const MutexLock lock(mutex_);
    return state_->flows.all();
}

std::vector<wire::OffsetPut> LogStateMachine::offsets_of_topic(std::string_view topic) const {
    const MutexLock lock(mutex_);
    return state_->offsets.of_topic(topic);
}

}  // namespace gantry::storage
