// SPDX-License-Identifier: Apache-2.0
#include "broker/timers/timer_handler.h"

#include "broker/dispatcher.h"
#include "broker/timers/delayed_message.h"
#include "protocol/wire/delay/recall_handle.h"
#include "protocol/wire/properties.h"
#include "storage/timers/timers.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr std::uint32_t kListMax = 1'000;
constexpr std::size_t kUnitsAtOnce = 100'000;

/// How a cancellation ended.
struct Recalled {
    ResponseCode code = ResponseCode::kSuccess;
    std::string remark;
    LogOffset end;               ///< durable before it is answered
    std::optional<Error> error;  ///< instead of a code
};

WallMs due_time_of(const wire::Record& waiting) {
    const std::string_view text =
        wire::find_property(waiting.properties, wire::property::kTimerOutMs);
    WallMs due = 0;
    std::from_chars(text.data(), text.data() + text.size(), due);
    return due;
}

bool is_meant(const wire::Record& waiting, const wire::RecallHandle& handle) {
    return wire::find_property(waiting.properties, wire::property::kRealTopic) == handle.topic &&
           (handle.due == 0 || due_time_of(waiting) == handle.due);
}

/// A message that was stored again has several records: the last one waits.
Recalled recall_of(storage::Store& store,
                   const wire::RecallHandle& handle,
                   std::size_t cancelled_max) {
    storage::Store::KeyQuery query;
    query.topic = storage::kTimerTopic;
    query.key = handle.key;
    query.end = std::numeric_limits<WallMs>::max();
    Recalled recalled{ResponseCode::kDelayedUnknown,
                      "recall failed: no delayed message of topic " + handle.topic + " with key " +
                          handle.key + " is known",
                      {},
                      {}};
    for (const LogOffset at : store.find_by_key(query)) {
        const Result<std::string> bytes = store.record_at(at);
        const Result<wire::Record> record =
            bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error());
        if (!record || !is_meant(*record, handle)) {
            continue;
        }
        const storage::TimerEntry timer{
            due_time_of(*record), at, static_cast<std::int32_t>(record->stored_bytes)};
        const Result<LogOffset> end = store.timers().cancel(timer, cancelled_max);
        if (end) {
            return {ResponseCode::kSuccess, {}, *end, {}};
        }
        if (end.error().code != Errc::kGone) {
            return {{}, {}, {}, end.error()};
        }
        recalled = {ResponseCode::kDelayedOver,
                    "recall failed: " + end.error().detail,
                    store.state().folded(),
                    {}};
    }
    return recalled;
}

void answer(LoopState& loop,
            const Addressee& to,
            const Recalled& recalled,
            const std::string& key) {
    if (recalled.error) {
        loop.fail(to, *recalled.error);
        return;
    }
    // Also that it was cancelled before: the first cancellation may not be durable yet.
    loop.when_durable(recalled.end, [&loop, to, recalled, key](const Status& status) {
        if (!status) {
            loop.fail(to, status.error());
            return;
        }
        if (recalled.code != ResponseCode::kSuccess) {
            const bool is_native = to.to.codec == wire::Codec::kNative;
            loop.reply(
                to, is_native ? recalled.code : ResponseCode::kIllegalOperation, recalled.remark);
            return;
        }
        wire::RecallMessageResponse response;
        response.set_msgid(key);
        loop.reply(to, ResponseCode::kSuccess, {}, &response);
    });
}

/// Whether the list is to have the message; adds it then.
bool add_delayed(const Context& context,
                 const storage::TimerEntry& timer,
                 const std::string& topic,
                 wire::DelayedList& list) {
    const Result<std::string> bytes = context.store->record_at(timer.at);
    const Result<wire::Record> record =
        bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error());
    if (!record) {
        return false;
    }
    std::string rest;
    const RealPlace place = real_place(record->properties, rest);
    if (!topic.empty() && place.topic != topic) {
        return false;
    }
    wire::DelayedList::Delayed& one = *list.add_messages();
    one.set_messageid(
        std::string(wire::find_property(record->properties, wire::property::kUniqueKey)));
    one.set_topic(std::string(place.topic));
    one.set_queueid(place.queue_id);
    one.set_duetime(timer.due);
    one.set_storetime(record->store_ms);
    one.set_recallhandle(recall_handle_of(record->properties, context.options.name));
    return true;
}

wire::DelayedList list_of(const Context& context, const wire::ListDelayedRequest& request) {
    const storage::Timers& timers = context.store->timers();
    const std::uint32_t count_max = std::min(request.count(), kListMax);
    const WallMs until =
        request.dueuntil() > 0 ? request.dueuntil() : std::numeric_limits<WallMs>::max();
    wire::DelayedList list;
    list.set_waiting(timers.waiting());
    list.set_next(timers.scan(
        std::max<std::int64_t>(request.from(), 0), kUnitsAtOnce, [&](const auto& timer) {
            if (timer.due >= request.duefrom() && timer.due < until) {
                add_delayed(context, timer, request.topic(), list);
            }
            return static_cast<std::uint32_t>(list.messages_size()) < count_max;
        }));
    return list;
}

}  // namespace

void TimerHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kRecallMessage, *this, &TimerHandler::recall);
    dispatcher.add(RequestCode::kListDelayed, *this, &TimerHandler::list);
}

void TimerHandler::recall(Call& call, const wire::RecallMessageRequest& request) {
    const Result<wire::RecallHandle> handle = wire::parse_recall_handle(request.recallhandle());
    if (!handle) {
        call.fail(ResponseCode::kIllegalOperation, "recall failed, " + handle.error().detail);
        return;
    }
    if (handle->topic != request.topic() || handle->broker != context_.options.name) {
        call.fail(ResponseCode::kIllegalOperation,
                  "recall failed, the handle is of topic " + handle->topic + " at broker " +
                      handle->broker);
        return;
    }
    const storage::Topic* const topic = context_.store->find_topic(request.topic());
    if (topic == nullptr) {
        call.fail(ResponseCode::kTopicNotExist, "topic[" + request.topic() + "] not exist");
        return;
    }
    if ((topic->perm() & storage::perm::kWrite) == 0) {
        call.fail(ResponseCode::kNoPermission,
                  "recalling a message of topic[" + request.topic() + "] is forbidden");
        return;
    }
    const Status submitted =
        context_.pool.submit([this, &loop = call.loop, to = call.addressee(), handle = *handle] {
            const auto most = static_cast<std::size_t>(context_.options.delay_cancelled_max);
            auto recalled = std::make_shared<Recalled>(recall_of(*context_.store, handle, most));
            if (recalled->code == ResponseCode::kSuccess && !recalled->error) {
                context_.counters.delayed.cancelled.add();
            }
            loop.post(
                [&loop, to, recalled, key = handle.key] { answer(loop, to, *recalled, key); });
        });
    if (!submitted) {
        call.fail(submitted.error());
    }
}

void TimerHandler::list(Call& call, const wire::ListDelayedRequest& request) {
    answer_from_pool(call, [&context = context_, request, codec = call.to.codec] {
        Answer answer;
        wire::append_body(answer.body, codec, list_of(context, request));
        return answer;
    });
}

}  // namespace gantry::broker
