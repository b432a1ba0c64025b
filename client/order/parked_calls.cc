// SPDX-License-Identifier: Apache-2.0
#include "client/order/parked_calls.h"

#include "client/consume/record_reader.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "protocol/wire/message.pb.h"

#include <chrono>
#include <memory>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::chrono::milliseconds kLimit{3'000};
constexpr std::int32_t kHasSubscription = 4;
constexpr std::int32_t kBytesMax = 1 << 20;  // a larger message comes alone

/// Asks the queue's broker in the slot's loop and hands the answer to `done`.
template <class Fields, class OnAnswer>
void ask(Runtime& runtime,
         LoopSlot& slot,
         const std::string& broker,
         std::pair<wire::RequestCode, Fields> request,
         OnAnswer done) {
    auto shared = std::make_shared<OnAnswer>(std::move(done));
    auto sent = std::make_shared<std::pair<wire::RequestCode, Fields>>(std::move(request));
    const bool posted = slot.post([&runtime, &slot, broker, sent, shared] {
        const std::string address = runtime.routes().master_of(broker);
        if (address.empty()) {
            Result<net::Received> gone = Error{Errc::kGone, "no route names broker " + broker};
            (*shared)(gone, broker);
            return;
        }
        slot.channel(address).call(
            {sent->first, &sent->second, {}},
            kLimit,
            [address, shared](Result<net::Received>& result) { (*shared)(result, address); });
    });
    if (!posted) {
        Result<net::Received> refused = Error{Errc::kBusy, "the client's loop takes no more work"};
        (*shared)(refused, broker);
    }
}

Result<std::optional<MessageView>> message_of(Result<net::Received>& result,
                                              const std::string& broker,
                                              std::int64_t offset) {
    if (!result) {
        return result.error();
    }
    const wire::ResponseCode code = result->header.response();
    if (code == wire::ResponseCode::kPullNotFound ||
        code == wire::ResponseCode::kPullRetryImmediately ||
        code == wire::ResponseCode::kPullOffsetMoved || code == wire::ResponseCode::kDataLost) {
        return std::optional<MessageView>();
    }
    GANTRY_TRY(check_response(*result, broker));
    RecordReader reader(result->body,
                        std::make_shared<const ReceivedBody>(ReceivedBody{result->pin(), broker}));
    MessageView message;
    if (!reader.next(message) || message.queue_offset() != offset) {
        return std::optional<MessageView>();
    }
    return std::optional(std::move(message));
}

}  // namespace

void ParkedCalls::list(const QueueId& queue, OnKeys done) {
    wire::ParkedKeysRequest fields;
    fields.set_group(group_);
    fields.set_topic(queue.topic);
    fields.set_queueid(queue.queue);
    ask(runtime_,
        slot_,
        queue.broker,
        std::pair(wire::RequestCode::kListParkedKeys, std::move(fields)),
        [done = std::move(done)](Result<net::Received>& result, const std::string& from) mutable {
            const Result<wire::ParkedKeyList> list = body_of<wire::ParkedKeyList>(result, from);
            if (!list) {
                done(list.error());
                return;
            }
            std::vector<Key> keys;
            for (const auto& entry : list->keys()) {
                keys.push_back({entry.key(), {entry.count(), entry.first(), entry.isreleased()}});
            }
            done(std::move(keys));
        });
}

void ParkedCalls::change(const LockedQueue& queue, const Change& change, OnChanged done) {
    wire::ChangeParkedKeyRequest fields;
    fields.set_group(group_);
    fields.set_topic(queue.id.topic);
    fields.set_queueid(queue.id.queue);
    fields.set_key(change.key);
    fields.set_action(static_cast<std::int32_t>(change.action));
    fields.mutable_offsets()->Add(change.offsets.begin(), change.offsets.end());
    fields.set_isnew(change.is_new);
    fields.set_locktoken(queue.token);
    ask(runtime_,
        slot_,
        queue.id.broker,
        std::pair(wire::RequestCode::kChangeParkedKey, std::move(fields)),
        [done = std::move(done)](Result<net::Received>& result, const std::string& from) mutable {
            const Result<wire::ChangeParkedKeyResponse> answer =
                fields_of<wire::ChangeParkedKeyResponse>(result, from);
            if (answer) {
                done(ParkedLane{answer->count(), answer->first(), answer->isreleased()});
            } else {
                done(answer.error());
            }
        });
}

void ParkedCalls::fetch(const LockedQueue& queue, std::int64_t offset, OnMessage done) {
    wire::PullMessageRequest fields;
    fields.set_consumergroup(group_);
    fields.set_topic(queue.id.topic);
    fields.set_queueid(queue.id.queue);
    fields.set_queueoffset(offset);
    fields.set_maxmsgnums(1);
    fields.set_maxmsgbytes(kBytesMax);
    fields.set_sysflag(kHasSubscription);
    fields.set_commitoffset(0);
    fields.set_suspendtimeoutmillis(0);
    fields.set_subscription("*");
    fields.set_subversion(0);
    fields.set_locktoken(queue.token);
    ask(runtime_,
        slot_,
        queue.id.broker,
        std::pair(wire::RequestCode::kPullMessage, std::move(fields)),
        [done = std::move(done), broker = queue.id.broker, offset](
            Result<net::Received>& result, const std::string& /*from*/) mutable {
            done(message_of(result, broker, offset));
        });
}

}  // namespace gantry::client
