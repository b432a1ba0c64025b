// SPDX-License-Identifier: Apache-2.0
#include "broker/transaction/transaction_service.h"

#include "broker/context.h"
#include "broker/delivery/delay_service.h"
#include "broker/loop_state.h"
#include "broker/timers/timer_service.h"
#include "broker/topic_creator.h"
#include "broker/transaction/transaction_checker.h"
#include "common/failpoint/failpoint.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>
#include <utility>

namespace gantry::broker {

namespace {

/// kBusy unless readers see the log up to `end`: what is looked for below it could be missed.
Status readers_see(const storage::Store& store, LogOffset end) {
    const LogOffset seen = store.watermarks().confirmed;
    if (seen >= end) {
        return ok();
    }
    return Error{Errc::kBusy,
                 "readers see the log up to " + std::to_string(seen.value) + ", not yet up to " +
                     std::to_string(end.value)};
}

constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;

void set_property(std::string& properties, std::string_view name, std::string_view value) {
    properties = wire::without_property(properties, name);
    if (!properties.empty() && properties.back() != wire::kPropertySeparator) {
        properties += wire::kPropertySeparator;
    }
    if (!value.empty()) {
        (void)wire::append_property(properties, name, value);
    }
}

std::int32_t real_queue_id(const wire::Record& half) noexcept {
    const std::string_view text =
        wire::find_property(half.properties, wire::property::kRealQueueId);
    std::int32_t id = 0;
    std::from_chars(text.data(), text.data() + text.size(), id);
    return id;
}

std::int32_t without_transaction(std::int32_t sys_flag) noexcept {
    return sys_flag & ~wire::sys_flag::kTransactionMask;
}

}  // namespace

Status TransactionService::open(LoopState& loop) {
    GANTRY_ASSIGN_OR_RETURN(storage::Topic* const half,
                            creator_.ensure(loop, storage::kHalfTopic, 1, kReadWrite));
    half_queue_ = half->queue(0);
    if (half_queue_ == nullptr) {
        return Error{Errc::kCorrupt, std::string(storage::kHalfTopic) + " has no queue"};
    }
    return ok();
}

Result<storage::Appended> TransactionService::store_half(LoopState& loop,
                                                         const wire::Record& message,
                                                         std::string_view group) {
    std::string properties(message.properties);
    set_property(properties, wire::property::kHalf, "true");
    if (wire::find_property(properties, wire::property::kProducerGroup).empty()) {
        GANTRY_TRY(wire::check_group_name(group));
        set_property(properties, wire::property::kProducerGroup, group);
    }
    set_property(properties, wire::property::kCheckTimes, {});
    set_property(properties, wire::property::kRealTopic, message.topic);
    set_property(properties, wire::property::kRealQueueId, std::to_string(message.queue_id));
    wire::Record half = message;
    half.topic = half_queue_->topic;
    half.queue_id = half_queue_->queue_id;
    half.sys_flag = without_transaction(message.sys_flag);
    half.properties = properties;
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended, open_half(half));
    loop.appended(*half_queue_, appended.end);
    return appended;
}

Result<storage::Appended> TransactionService::open_half(const wire::Record& half) {
    GANTRY_ASSIGN_OR_RETURN(
        const storage::Appended appended,
        context_.store->transactions().open(
            *half_queue_, half, static_cast<std::size_t>(context_.options.transaction_open_max)));
    GANTRY_FAILPOINT("transaction.half_stored");
    context_.counters.transactions_begun.add();
    context_.transaction_checker->opened(appended, storage::transaction_of(half));
    return appended;
}

void TransactionService::with_half(LoopState& loop,
                                   const storage::OpenTransaction& transaction,
                                   WithHalf then) {
    storage::ReadRequest request;
    request.from = transaction.queue_offset;
    request.bytes_max = 1;
    request.count_max = 1;
    request.is_in_loop = true;
    const storage::ReadResult found = context_.store->read(*half_queue_, request);
    if (found.status == storage::ReadStatus::kFound && !found.is_cold && found.runs.size() == 1 &&
        !found.runs[0].memory.empty() && found.runs[0].at == transaction.half) {
        then(found.runs[0].memory);
        return;
    }
    auto waiting = std::make_shared<WithHalf>(std::move(then));
    const Status submitted = context_.pool.submit([this, &loop, at = transaction.half, waiting] {
        auto record = std::make_shared<Result<std::string>>(context_.store->record_at(at));
        loop.post([waiting, record] {
            if (*record) {
                (*waiting)(as_bytes(**record));
            } else {
                (*waiting)(record->error());
            }
        });
    });
    if (!submitted) {
        (*waiting)(submitted.error());
    }
}

Result<storage::Queue*> TransactionService::real_queue(const wire::Record& half) const {
    const std::string_view name = wire::find_property(half.properties, wire::property::kRealTopic);
    storage::Topic* const topic = context_.store->find_topic(name);
    std::int32_t queue_id = real_queue_id(half);
    if (topic != nullptr && topic->write_queues() > 0 && topic->queue(queue_id) == nullptr) {
        queue_id = queue_id % topic->write_queues();
    }
    storage::Queue* const queue = topic == nullptr ? nullptr : topic->queue(queue_id);
    if (queue == nullptr) {
        return Error{Errc::kGone,
                     "topic[" + std::string(name) + "] has no queue " + std::to_string(queue_id) +
                         " for a transaction's message"};
    }
    return queue;
}

Result<LogOffset> TransactionService::commit(LoopState& loop, Bytes half) {
    GANTRY_ASSIGN_OR_RETURN(const wire::Record record, wire::parse_record(half));
    GANTRY_ASSIGN_OR_RETURN(storage::Queue * target, real_queue(record));
    std::string properties = wire::without_property(record.properties, wire::property::kHalf);
    properties = wire::without_property(properties, wire::property::kRealTopic);
    properties = wire::without_property(properties, wire::property::kRealQueueId);
    wire::Record message = record;
    message.topic = target->topic;
    message.queue_id = target->queue_id;
    message.sys_flag = without_transaction(record.sys_flag) | wire::sys_flag::kTransactionCommit;
    message.properties = properties;
    // Its limits were checked when it came.
    const auto due = due_of(properties, context_.clock.wall_ms(), INT64_MAX);
    WaitingMessage waiting;
    if (due && *due) {
        waiting = wait_until_due(message, **due, nullptr);
        message = waiting.record;
        message.properties = waiting.properties;
        target = &context_.timers->queue();
    }
    GANTRY_ASSIGN_OR_RETURN(
        const storage::Appended appended,
        context_.store->transactions().end_with(record.log_offset, *target, message));
    GANTRY_FAILPOINT("transaction.committed");
    if (due && *due) {
        context_.timers->stored(loop, appended);
    } else {
        loop.appended(*target, appended.end);
    }
    context_.counters.transactions_committed.add();
    return appended.end;
}

Result<LogOffset> TransactionService::roll_back(LoopState& loop, LogOffset half) {
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended,
                            context_.store->transactions().end(half));
    GANTRY_FAILPOINT("transaction.rolled_back");
    loop.want_flush();
    context_.counters.transactions_rolled_back.add();
    return appended.end;
}

Result<LogOffset> TransactionService::give_up(LoopState& loop, Bytes half, std::int32_t asked) {
    GANTRY_ASSIGN_OR_RETURN(const wire::Record record, wire::parse_record(half));
    std::string properties(record.properties);
    set_property(properties, wire::property::kCheckTimes, std::to_string(asked));
    GANTRY_ASSIGN_OR_RETURN(storage::Topic* const topic,
                            creator_.ensure(loop, storage::kUndecidedTopic, 1, kReadWrite));
    storage::Queue* const queue = topic->queue(0);
    if (queue == nullptr) {
        return Error{Errc::kGone, "topic[" + topic->name() + "] has no queue"};
    }
    wire::Record undecided = record;
    undecided.topic = queue->topic;
    undecided.queue_id = queue->queue_id;
    undecided.properties = properties;
    GANTRY_ASSIGN_OR_RETURN(
        const storage::Appended appended,
        context_.store->transactions().end_with(record.log_offset, *queue, undecided));
    loop.appended(*queue, appended.end);
    context_.counters.transactions_given_up.add();
    return appended.end;
}

Result<std::string> TransactionService::as_asked(Bytes half, std::int32_t asked) {
    GANTRY_ASSIGN_OR_RETURN(const wire::Record record, wire::parse_record(half));
    std::string properties(record.properties);
    set_property(properties, wire::property::kCheckTimes, std::to_string(asked));
    wire::Record shown = record;
    shown.topic = wire::find_property(record.properties, wire::property::kRealTopic);
    shown.queue_id = real_queue_id(record);
    shown.properties = properties;
    std::string bytes(wire::record_bytes(shown), '\0');
    wire::encode_record(shown, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    return bytes;
}

Result<TransactionService::Outcome> TransactionService::outcome_of(LogOffset half,
                                                                   std::string_view group,
                                                                   LogOffset ended) const {
    GANTRY_TRY(readers_see(*context_.store, ended));
    GANTRY_ASSIGN_OR_RETURN(const std::string stored, context_.store->record_at(half));
    GANTRY_ASSIGN_OR_RETURN(const wire::Record record, wire::parse_record(as_bytes(stored)));
    if (record.topic != storage::kHalfTopic ||
        wire::find_property(record.properties, wire::property::kProducerGroup) != group) {
        return Error{Errc::kNotFound,
                     "no half message of group " + std::string(group) + " at log offset " +
                         std::to_string(half.value)};
    }
    if (wire::find_property(record.properties, wire::property::kUniqueKey).empty()) {
        return Outcome::kUnknown;
    }
    const std::string_view real =
        wire::find_property(record.properties, wire::property::kRealTopic);
    return is_followed(record, half, real) || is_followed(record, half, storage::kTimerTopic) ||
                   is_followed(record, half, DelayService::kTopic)
               ? Outcome::kCommitted
               : Outcome::kNotCommitted;
}

/// Whether `topic` has a message with the same UNIQ_KEY that names `at`, where `record` is.
bool TransactionService::is_followed(const wire::Record& record,
                                     LogOffset at,
                                     std::string_view topic) const {
    storage::Store::KeyQuery query;
    query.topic = topic;
    query.key = wire::find_property(record.properties, wire::property::kUniqueKey);
    query.begin = record.store_ms;
    query.end = std::numeric_limits<WallMs>::max();
    for (const LogOffset found : context_.store->find_by_key(query)) {
        const Result<std::string> bytes = context_.store->record_at(found);
        const Result<wire::Record> other =
            bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error());
        if (other && other->prepared_transaction_offset == at.value) {
            return true;
        }
    }
    return false;
}

Result<LogOffset> TransactionService::resume(LogOffset undecided) {
    GANTRY_ASSIGN_OR_RETURN(const std::string stored, context_.store->record_at(undecided));
    GANTRY_ASSIGN_OR_RETURN(const wire::Record record, wire::parse_record(as_bytes(stored)));
    if (record.topic != storage::kUndecidedTopic) {
        return Error{Errc::kNotFound,
                     "the message at log offset " + std::to_string(undecided.value) +
                         " is of topic " + std::string(record.topic) + ", not of " +
                         std::string(storage::kUndecidedTopic)};
    }
    const MutexLock lock(resuming_);
    GANTRY_TRY(readers_see(*context_.store, resumed_));
    if (is_followed(record, undecided, storage::kHalfTopic)) {
        return LogOffset(0);
    }
    std::string properties(record.properties);
    set_property(properties, wire::property::kCheckTimes, {});
    wire::Record half = record;
    half.topic = half_queue_->topic;
    half.queue_id = half_queue_->queue_id;
    half.prepared_transaction_offset = undecided.value;
    half.properties = properties;
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended, open_half(half));
    resumed_ = appended.end;
    return appended.end;
}

}  // namespace gantry::broker
