// SPDX-License-Identifier: Apache-2.0
#include "broker/order/parked_key_handler.h"

#include "broker/dispatcher.h"
#include "protocol/wire/header.h"
#include "storage/state_machine.h"

#include <optional>
#include <string>
#include <utility>

namespace gantry::broker {

namespace {

using storage::ParkedInfo;
using storage::ParkedName;
using storage::ParkedTable;
using wire::RequestCode;
using wire::ResponseCode;

constexpr std::int32_t kPark = 0;

Error not_parked(const ParkedName& name) {
    return {Errc::kNotFound,
            "key \"" + std::string(name.key) + "\" of queue " + std::to_string(name.queue_id) +
                " of topic " + std::string(name.topic) + " is not parked for group " +
                std::string(name.group)};
}

/// A ParkedPut or a ParkedChange of that key.
template <class Change>
Change change_of(const ParkedName& name) {
    Change change;
    change.set_group(std::string(name.group));
    change.set_topic(std::string(name.topic));
    change.set_queueid(name.queue_id);
    change.set_key(std::string(name.key));
    return change;
}

}  // namespace

void ParkedKeyHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kListParkedKeys, *this, &ParkedKeyHandler::list);
    dispatcher.add(RequestCode::kChangeParkedKey, *this, &ParkedKeyHandler::change);
}

void ParkedKeyHandler::list(Call& call, const wire::ParkedKeysRequest& request) {
    wire::ParkedKeyList list;
    for (const ParkedInfo& info : context_.store->state().order().parked_keys(
             request.group(), request.topic(), request.queueid())) {
        wire::ParkedKeyList::Entry& entry = *list.add_keys();
        entry.set_topic(info.topic);
        entry.set_queueid(info.queue_id);
        entry.set_key(info.key);
        entry.set_isreleased(info.is_released);
        entry.set_count(static_cast<std::int64_t>(info.count));
        entry.set_first(info.first);
        entry.set_last(info.last);
        entry.set_since(info.since_ms);
    }
    call.reply_body(list);
}

Status ParkedKeyHandler::check(const Request& request) const {
    storage::Topic* const topic = request.topic() == storage::kStateTopic
                                      ? nullptr
                                      : context_.store->find_topic(request.topic());
    if (topic == nullptr || request.queueid() < 0 || topic->queue(request.queueid()) == nullptr) {
        return Error{
            Errc::kRefused,
            "topic[" + request.topic() + "] has no queue " + std::to_string(request.queueid())};
    }
    if (request.action() < kPark || request.action() > ParkedTable::kDropped) {
        return Error{Errc::kRefused,
                     "action " + std::to_string(request.action()) + " is outside 0..4"};
    }
    if (request.action() == ParkedTable::kDone && request.offsets_size() != 1) {
        return Error{Errc::kRefused,
                     "number of offsets " + std::to_string(request.offsets_size()) +
                         " is not 1, as it is of what is done"};
    }
    return ok();
}

Result<wire::StateRecord> ParkedKeyHandler::plan_park(const Request& request,
                                                      const ParkedName& name) const {
    const storage::OrderTable& order = context_.store->state().order();
    const std::optional<ParkedInfo> parked = order.parked_key(name);
    if (!parked && !request.isnew()) {
        return not_parked(name);
    }
    auto put = change_of<wire::ParkedPut>(name);
    for (const std::int64_t offset : request.offsets()) {
        if (!parked || offset > parked->last) {  // else it is a repeated request
            put.add_offsets(offset);
        }
    }
    wire::StateRecord record;
    if (put.offsets().empty() && parked) {
        return record;
    }
    if (order.parked_count() + static_cast<std::size_t>(put.offsets_size()) > kMessagesMax) {
        return Error{Errc::kBusy,
                     "as many messages are parked as may be, " + std::to_string(kMessagesMax) +
                         ": release or drop some"};
    }
    *record.add_changes()->mutable_parkedput() = std::move(put);
    return record;
}

Result<wire::StateRecord> ParkedKeyHandler::plan(const Request& request,
                                                 const ParkedName& name) const {
    if (request.action() == kPark) {
        return plan_park(request, name);
    }
    wire::StateRecord record;
    const std::optional<ParkedInfo> parked = context_.store->state().order().parked_key(name);
    const bool is_done = request.action() == ParkedTable::kDone;
    if (!parked) {
        return is_done ? Result<wire::StateRecord>(record) : not_parked(name);
    }
    if ((is_done && parked->first != request.offsets(0)) ||
        (request.action() == ParkedTable::kReleased && parked->is_released) ||
        (request.action() == ParkedTable::kHeld && !parked->is_released)) {
        return record;
    }
    auto change = change_of<wire::ParkedChange>(name);
    change.set_action(request.action());
    change.set_offset(is_done ? request.offsets(0) : 0);
    *record.add_changes()->mutable_parkedchange() = std::move(change);
    return record;
}

Result<LogOffset> ParkedKeyHandler::commit(const Request& request,
                                           const ParkedName& name,
                                           wire::ChangeParkedKeyResponse& response) {
    const MutexLock lock(mutex_);
    GANTRY_ASSIGN_OR_RETURN(const wire::StateRecord record, plan(request, name));
    // What a repeated request asks for may not be durable yet.
    LogOffset end = context_.store->state().folded();
    if (record.changes_size() > 0) {
        GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended,
                                context_.store->state().commit(record));
        end = appended.end;
    }
    if (const auto parked = context_.store->state().order().parked_key(name)) {
        response.set_count(static_cast<std::int64_t>(parked->count));
        response.set_first(parked->first);
        response.set_isreleased(parked->is_released);
    }
    return end;
}

void ParkedKeyHandler::change(Call& call, const Request& request) {
    if (const Status checked = check(request); !checked) {
        call.fail(checked.error());
        return;
    }
    const QueueLocks::Name lock{request.group(), request.topic(), request.queueid()};
    if (context_.locks.is_fenced(lock, request.locktoken())) {
        context_.counters.fenced.add();
        call.fail(ResponseCode::kFenced, context_.locks.remark(lock, request.locktoken()));
        return;
    }
    wire::ChangeParkedKeyResponse response;
    const Result<LogOffset> end = commit(
        request, {request.group(), request.topic(), request.queueid(), request.key()}, response);
    if (!end) {
        if (end.error().code == Errc::kNotFound) {
            call.fail(ResponseCode::kQueryNotFound, end.error().detail);
        } else {
            call.fail(end.error());
        }
        return;
    }
    call.loop.when_durable(
        *end, [&loop = call.loop, to = call.addressee(), response](const Status& status) {
            if (status) {
                loop.reply(to, ResponseCode::kSuccess, {}, &response);
            } else {
                loop.fail(to, status.error());
            }
        });
}

}  // namespace gantry::broker
