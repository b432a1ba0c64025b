// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/offset_commits.h"

#include "broker/context.h"
#include "broker/loop_state.h"
#include "common/log.h"
#include "protocol/wire/state.pb.h"
#include "storage/state_machine.h"

#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr int kChangesPerRecordMax = 4'096;

}  // namespace

void OffsetCommits::put(const Commit& commit) {
    dirty_.insert_or_assign(Key(commit.group, commit.topic, commit.queue_id),
                            Value{commit.offset, commit.lock_token});
    loop_.want_pass_end();
}

void OffsetCommits::acknowledge(PendingAcks::Done done) {
    acks_.push_back(std::move(done));
    loop_.want_pass_end();
}

std::optional<std::int64_t> OffsetCommits::find(std::string_view group,
                                                std::string_view topic,
                                                std::int32_t queue_id) const {
    if (dirty_.empty()) {
        return std::nullopt;
    }
    const auto at = dirty_.find(Key(group, topic, queue_id));
    return at == dirty_.end() ? std::nullopt : std::optional(at->second.offset);
}

Status OffsetCommits::log_changes(LogOffset& end) {
    storage::StateMachine& state = context_.store->state();
    const auto dirty = std::exchange(dirty_, {});
    wire::StateRecord record;
    const auto log = [&]() -> Status {
        if (record.changes_size() == 0) {
            return ok();
        }
        GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended, state.commit(record));
        end = appended.end;
        context_.counters.offset_commits.add(static_cast<std::uint64_t>(record.changes_size()));
        record.clear_changes();
        return ok();
    };
    for (const auto& [key, value] : dirty) {
        const auto& [group, topic, queue_id] = key;
        if (state.offset(group, topic, queue_id) == value.offset ||
            context_.locks.is_fenced({group, topic, queue_id}, value.lock_token)) {
            continue;
        }
        wire::OffsetPut& put = *record.add_changes()->mutable_offsetput();
        put.set_group(group);
        put.set_topic(topic);
        put.set_queueid(queue_id);
        put.set_offset(value.offset);
        if (record.changes_size() == kChangesPerRecordMax) {
            GANTRY_TRY(log());
        }
    }
    return log();
}

void OffsetCommits::flush() {
    if (dirty_.empty() && acks_.empty()) {
        return;
    }
    const std::size_t count = dirty_.size();
    LogOffset end = context_.store->watermarks().appended;
    const Status logged = log_changes(end);
    std::vector<PendingAcks::Done> acks = std::exchange(acks_, {});
    if (!logged) {
        if (acks.empty()) {
            context_.counters.offsets_lost.add(count);
            kLog.warn("offset_commits_lost", {{"count", count}, {"error", logged.error()}});
        }
        for (PendingAcks::Done& done : acks) {
            done(logged);
        }
        return;
    }
    for (PendingAcks::Done& done : acks) {
        loop_.when_durable(end, std::move(done));
    }
}

}  // namespace gantry::broker
