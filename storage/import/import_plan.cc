// SPDX-License-Identifier: Apache-2.0
#include "storage/import/import_plan.h"

#include "protocol/wire/names.h"
#include "storage/import/rocketmq_names.h"
#include "storage/state_checks.h"
#include "storage/state_machine.h"
#include "storage/topic_table.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace gantry::storage {
namespace {

class Planner {
public:
    explicit Planner(const ImportSource& source) : source_(source), log_(source.log) {}

    ImportPlan run();

private:
    void plan_topics();
    void plan_topic(const std::string& name);
    std::optional<wire::TopicConfig> definition(const std::string& name) const;
    void note_queues(const std::string& name, std::int32_t queues);
    void plan_groups();
    void plan_offsets();
    void plan_delays();
    void plan_beginnings();
    void mark_deleted();
    void note_unfinished();
    bool add(wire::StateChange change, const std::string& what);
    void not_carried(const std::string& what, std::uint64_t count, const std::string& why);
    const ScannedQueue* scanned(const std::string& topic, std::int32_t queue_id) const;
    std::int64_t end_of(const std::string& topic, std::int32_t queue_id) const;

    bool is_carried(const std::string& topic) const { return queues_of_.count(topic) != 0; }

    using QueueName = std::pair<std::string, std::int32_t>;

    const ImportSource& source_;
    const ScannedLog& log_;
    ImportPlan plan_;
    std::map<std::string, std::int32_t> queues_of_;  ///< of carried topics
    std::map<QueueName, std::int64_t> begins_at_;
};

/// What the log has of a topic.
struct Sums {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t dead = 0;
    std::uint64_t gap = 0;
    std::int32_t queues = 0;
};

Sums sums_of(const ScannedLog& log, const std::string& topic) {
    Sums sums;
    const auto found = log.topics.find(topic);
    if (found == log.topics.end()) {
        return sums;
    }
    for (const auto& [queue_id, queue] : found->second) {
        sums.messages += queue.messages;
        sums.bytes += queue.bytes;
        sums.dead += queue.dead;
        sums.gap += queue.gap;
        sums.queues = queue.messages > 0 ? queue_id + 1 : sums.queues;
    }
    return sums;
}

void Planner::not_carried(const std::string& what, std::uint64_t count, const std::string& why) {
    if (count > 0) {
        plan_.not_carried.push_back({what, count, why});
    }
}

bool Planner::add(wire::StateChange change, const std::string& what) {
    wire::StateRecord record;
    *record.add_changes() = change;
    if (const Status legal = check_changes(record); !legal) {
        not_carried(what, 1, legal.error().detail);
        return false;
    }
    plan_.changes.push_back(std::move(change));
    return true;
}

const ScannedQueue* Planner::scanned(const std::string& topic, std::int32_t queue_id) const {
    const auto found = log_.topics.find(topic);
    if (found == log_.topics.end()) {
        return nullptr;
    }
    const auto queue = found->second.find(queue_id);
    return queue == found->second.end() || queue->second.messages == 0 ? nullptr : &queue->second;
}

/// The offset the next message of the queue gets.
std::int64_t Planner::end_of(const std::string& topic, std::int32_t queue_id) const {
    if (const ScannedQueue* const queue = scanned(topic, queue_id)) {
        return queue->next;
    }
    const auto begin = begins_at_.find({topic, queue_id});
    return begin == begins_at_.end() ? 0 : begin->second;
}

/// Nothing for a topic that needs none.
std::optional<wire::TopicConfig> Planner::definition(const std::string& name) const {
    constexpr std::int32_t kReadWrite = perm::kRead | perm::kWrite;
    const Sums sums = sums_of(log_, name);
    const auto listed = source_.config.topics.find(name);
    wire::TopicConfig topic;
    if (listed != source_.config.topics.end()) {
        topic = listed->second;
        // RocketMQ makes such topics by itself; Gantry does where it needs one.
        const bool is_own = wire::is_system_topic(name) || (topic.perm() & perm::kInherit) != 0;
        if (sums.messages == 0 && is_own) {
            return std::nullopt;
        }
    } else {
        if (sums.messages == 0) {
            return std::nullopt;
        }
        topic.set_topicname(name);
        topic.set_perm(kReadWrite);
        topic.set_readqueuenums(sums.queues);
        topic.set_writequeuenums(sums.queues);
    }
    if (name == rocketmq::kDelayTopic) {
        topic.set_readqueuenums(std::max(topic.readqueuenums(), rocketmq::kDelayLevels));
        topic.set_writequeuenums(std::max(topic.writequeuenums(), rocketmq::kDelayLevels));
    }
    return topic;
}

void Planner::note_queues(const std::string& name, std::int32_t queues) {
    const auto found = log_.topics.find(name);
    if (found == log_.topics.end()) {
        return;
    }
    for (const auto& [queue_id, queue] : found->second) {
        if (queue_id >= queues) {
            not_carried("queue " + std::to_string(queue_id) + " of topic " + name,
                        queue.messages,
                        "the topic has " + std::to_string(queues) +
                            " queues: its messages are in the log and cannot be read until it has "
                            "more");
        }
    }
}

void Planner::plan_topic(const std::string& name) {
    const Sums sums = sums_of(log_, name);
    const bool is_listed = source_.config.topics.count(name) != 0;
    const std::optional<wire::TopicConfig> topic = definition(name);
    if (!topic) {
        not_carried("topic " + name,
                    sums.dead,
                    is_listed ? "deleted messages of a topic that is empty"
                              : "it was deleted in the source");
        return;
    }
    wire::StateChange change;
    *change.mutable_topicput() = *topic;
    const Status legal = wire::check_topic_name(name);
    if (!legal || wire::is_internal_topic(name)) {
        not_carried("topic " + name,
                    std::max<std::uint64_t>(sums.messages, 1),
                    legal ? "such names are Gantry's own" : legal.error().detail);
        return;
    }
    if (!add(change, "topic " + name)) {
        return;
    }
    const std::int32_t queues = std::max(topic->readqueuenums(), topic->writequeuenums());
    queues_of_[name] = queues;
    plan_.topics.push_back({name, queues, sums.messages, sums.bytes, !is_listed});
    not_carried("topic " + name, sums.dead, "messages from before it was deleted and made again");
    if (sums.gap > 0) {
        plan_.warnings.push_back({"topic " + name, sums.gap, "queue offsets that no record has"});
    }
    if (!is_listed) {
        plan_.warnings.push_back({"topic " + name,
                                  static_cast<std::uint64_t>(queues),
                                  "topics.json does not list it: queues as the log has them"});
    }
    note_queues(name, queues);
}

void Planner::plan_topics() {
    std::set<std::string> names;
    for (const auto& [name, topic] : source_.config.topics) {
        names.insert(name);
    }
    for (const auto& [name, queues] : log_.topics) {
        names.insert(name);
    }
    for (const std::string& name : names) {
        plan_topic(name);
    }
}

void Planner::plan_groups() {
    std::set<std::string> committed;
    for (const wire::OffsetPut& put : source_.config.offsets) {
        committed.insert(put.group());
    }
    for (const auto& [name, group] : source_.config.groups) {
        const bool is_own =
            std::find(rocketmq::kOwnGroups.begin(), rocketmq::kOwnGroups.end(), name) !=
            rocketmq::kOwnGroups.end();
        if (is_own && committed.count(name) == 0) {
            continue;
        }
        if (const Status legal = wire::check_group_name(name); !legal) {
            not_carried("group " + name, 1, legal.error().detail);
            continue;
        }
        wire::StateChange change;
        *change.mutable_groupput() = group;
        plan_.groups += add(std::move(change), "group " + name) ? 1 : 0;
    }
}

/// Queues whose messages are all gone go on at the offset where they stood.
void Planner::plan_beginnings() {
    std::map<QueueName, std::int64_t> committed;
    for (const wire::OffsetPut& put : source_.config.offsets) {
        std::int64_t& highest = committed[{put.topic(), put.queueid()}];
        highest = std::max(highest, put.offset());
    }
    for (const auto& [level, offset] : source_.config.delay_offsets) {
        committed[{std::string(rocketmq::kDelayTopic), level - 1}] = offset;
    }
    for (const auto& [topic, queues] : queues_of_) {
        for (std::int32_t queue_id = 0; queue_id < queues; ++queue_id) {
            if (scanned(topic, queue_id) != nullptr) {
                continue;
            }
            const QueueName name{topic, queue_id};
            const RocketMqQueues::Queue* const listed = source_.queues.find(topic, queue_id);
            const auto offset = committed.find(name);
            const std::int64_t begin = listed != nullptr           ? listed->max
                                       : offset != committed.end() ? offset->second
                                                                   : 0;
            if (begin > 0) {
                begins_at_[name] = begin;
            }
        }
    }
}

void Planner::plan_offsets() {
    std::map<std::string, std::uint64_t> without_topic;
    for (wire::OffsetPut put : source_.config.offsets) {
        if (!is_carried(put.topic())) {
            ++without_topic[put.topic()];
            continue;
        }
        const std::string what = "offset of group " + put.group() + " for topic " + put.topic() +
                                 " queue " + std::to_string(put.queueid());
        if (const Status legal = wire::check_group_name(put.group()); !legal) {
            not_carried(what, 1, legal.error().detail);
            continue;
        }
        const std::int64_t end = end_of(put.topic(), put.queueid());
        if (put.offset() > end) {
            plan_.warnings.push_back({what,
                                      1,
                                      std::to_string(put.offset()) +
                                          " is behind the end of the queue: taken as its end, " +
                                          std::to_string(end)});
            put.set_offset(end);
        }
        wire::StateChange change;
        *change.mutable_offsetput() = std::move(put);
        plan_.offsets += add(std::move(change), what) ? 1 : 0;
    }
    for (const auto& [topic, count] : without_topic) {
        not_carried("offsets for topic " + topic, count, "the topic is not here");
    }
}

void Planner::plan_delays() {
    const std::string topic(rocketmq::kDelayTopic);
    if (!is_carried(topic)) {
        return;
    }
    const bool is_known = source_.config.has_delay_offsets;
    const auto& offsets = is_known ? source_.config.delay_offsets : log_.delay_offsets;
    if (!is_known) {
        plan_.warnings.push_back(
            {"delayOffset.json",
             1,
             "is not readable: what was due when the log ended is taken as delivered"});
    }
    const auto levels = queues_of_[topic];
    for (std::int32_t level = 1; level <= levels; ++level) {
        const ScannedQueue* const queue = scanned(topic, level - 1);
        const auto known = offsets.find(level);
        const std::int64_t end = end_of(topic, level - 1);
        const std::int64_t at = std::clamp<std::int64_t>(
            known == offsets.end() ? 0 : known->second, queue == nullptr ? end : queue->first, end);
        const auto waiting = static_cast<std::uint64_t>(end - at);
        if (level > rocketmq::kDelayLevels) {
            not_carried("delay level " + std::to_string(level),
                        waiting,
                        "messages to be delivered later: there are 18 levels");
            continue;
        }
        if (waiting > 0) {
            plan_.delayed[level] = waiting;
        }
        if (end > 0) {
            wire::StateChange change;
            wire::OffsetPut& put = *change.mutable_offsetput();
            put.set_group(std::string(rocketmq::kDelayGroup));
            put.set_topic(topic);
            put.set_queueid(level - 1);
            put.set_offset(at);
            static_cast<void>(add(std::move(change), "delay level " + std::to_string(level)));
        }
    }
}

void Planner::mark_deleted() {
    plan_.mark.set_until(log_.end.value);
    plan_.mark.set_source(source_.directory.string());
    for (const auto& [topic, queues] : log_.topics) {
        for (const auto& [queue_id, queue] : queues) {
            if (queue.dead > 0 || !is_carried(topic)) {
                wire::ImportedQueue& marked = *plan_.mark.add_queues();
                marked.set_topic(topic);
                marked.set_queueid(queue_id);
                marked.set_livesfrom((is_carried(topic) ? queue.lives_from : log_.end).value);
            }
        }
    }
    for (const auto& [name, begin] : begins_at_) {
        wire::ImportedQueue& marked = *plan_.mark.add_queues();
        marked.set_topic(name.first);
        marked.set_queueid(name.second);
        marked.set_beginsat(begin);
    }
}

/// What the source was still to do and Gantry will not.
void Planner::note_unfinished() {
    not_carried("timer messages (any delay)",
                log_.timers,
                "not delivered: they stay in topic " + std::string(rocketmq::kTimerTopic));
    not_carried("transactions without an outcome",
                log_.open_transactions,
                "not checked: they stay in topic " + std::string(rocketmq::kHalfTopic));
    not_carried("prepared or rolled back records in topics of their own",
                log_.kept_from_queues,
                "consumers never saw them");
    not_carried("light queues' listings",
                log_.light_dispatches,
                "the messages are in their topics, not in light queues");
    if (log_.inner_batches > 0) {
        plan_.warnings.push_back(
            {"batches stored as one record",
             log_.inner_batches,
             "each is one entry of its queue, at the offset of its first message"});
    }
    for (const auto& [topic, queues] : log_.topics) {
        const Sums sums = sums_of(log_, topic);
        if (topic.starts_with(rocketmq::kRevivePrefix) && sums.messages > 0) {
            not_carried("pop receipts in topic " + topic,
                        sums.messages,
                        "messages popped and not acknowledged do not come again");
        }
    }
}

ImportPlan Planner::run() {
    plan_.warnings = source_.config.warnings;
    plan_.not_carried = source_.config.not_carried;
    if (!source_.was_stopped_cleanly) {
        plan_.warnings.push_back({"abort", 1, "the broker was not stopped cleanly"});
    }
    if (!source_.queues.is_known()) {
        plan_.warnings.push_back(
            {"consumequeue", 1, "is not there: deleted topics can only be guessed from the log"});
    }
    if (log_.tail_bytes > 0) {
        plan_.warnings.push_back(
            {"end of the log", log_.tail_bytes, "bytes behind the last whole record are cut"});
    }
    plan_topics();
    plan_beginnings();
    plan_groups();
    plan_offsets();
    plan_delays();
    mark_deleted();
    note_unfinished();
    return std::move(plan_);
}

}  // namespace

ImportPlan plan_import(const ImportSource& source) {
    return Planner(source).run();
}

}  // namespace gantry::storage
