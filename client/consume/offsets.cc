// SPDX-License-Identifier: Apache-2.0
#include "client/consume/offsets.h"

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

/// Asks `address` in the slot's loop and hands the answer to `done`.
template <class Fields, class OnAnswer>
void ask(LoopSlot& slot,
         const std::string& address,
         wire::RequestCode code,
         Fields fields,
         OnAnswer done) {
    auto shared = std::make_shared<OnAnswer>(std::move(done));
    const bool posted = slot.post(
        [&slot, address, code, fields = std::make_shared<Fields>(std::move(fields)), shared] {
            slot.channel(address).call(
                {code, fields.get(), {}}, kLimit, [address, shared](Result<net::Received>& result) {
                    (*shared)(result, address);
                });
        });
    if (!posted) {
        Result<net::Received> refused = Error{Errc::kBusy, "the client's loop takes no more work"};
        (*shared)(refused, address);
    }
}

Error no_broker(const QueueId& queue) {
    return Error{Errc::kGone, "no route names broker " + queue.broker};
}

template <class Fields>
Fields queue_fields(const QueueId& queue) {
    Fields fields;
    fields.set_topic(queue.topic);
    fields.set_queueid(queue.queue);
    return fields;
}

template <class Fields>
void ask_offset(Runtime& runtime,
                LoopSlot& slot,
                wire::RequestCode code,
                std::pair<const QueueId&, Fields> question,
                Offsets::OnOffset done) {
    const std::string address = runtime.routes().address_of(question.first.broker);
    if (address.empty()) {
        done(no_broker(question.first));
        return;
    }
    ask(slot,
        address,
        code,
        std::move(question.second),
        [done = std::move(done)](Result<net::Received>& result, const std::string& from) mutable {
            const Result<wire::OffsetResponse> answer =
                fields_of<wire::OffsetResponse>(result, from);
            done(answer ? Result<std::int64_t>(answer->offset()) : answer.error());
        });
}

/// Waits for several answers; calls `done` with the first error when the last has come.
class Gathered {
public:
    explicit Gathered(Offsets::OnDone done) : done_(std::move(done)) {}

    ~Gathered() { done_(std::move(status_)); }

    Gathered(const Gathered&) = delete;
    Gathered& operator=(const Gathered&) = delete;

    void add(const Status& status) {
        if (status_ && !status) {
            status_ = status;
        }
    }

private:
    Offsets::OnDone done_;
    Status status_ = ok();
};

}  // namespace

void Offsets::min(const QueueId& queue, OnOffset done) {
    ask_offset<wire::QueueRequest>(runtime_,
                                   slot_,
                                   wire::RequestCode::kGetMinOffset,
                                   {queue, queue_fields<wire::QueueRequest>(queue)},
                                   std::move(done));
}

void Offsets::max(const QueueId& queue, OnOffset done) {
    ask_offset<wire::QueueRequest>(runtime_,
                                   slot_,
                                   wire::RequestCode::kGetMaxOffset,
                                   {queue, queue_fields<wire::QueueRequest>(queue)},
                                   std::move(done));
}

void Offsets::by_time(const QueueId& queue, WallMs time, OnOffset done) {
    auto fields = queue_fields<wire::SearchOffsetRequest>(queue);
    fields.set_timestamp(time);
    ask_offset<wire::SearchOffsetRequest>(runtime_,
                                          slot_,
                                          wire::RequestCode::kSearchOffsetByTimestamp,
                                          {queue, std::move(fields)},
                                          std::move(done));
}

void Offsets::committed(const std::string& group, const QueueId& queue, OnCommitted done) {
    const std::string address = runtime_.routes().address_of(queue.broker);
    if (address.empty()) {
        done(no_broker(queue));
        return;
    }
    auto fields = queue_fields<wire::QueryConsumerOffsetRequest>(queue);
    fields.set_consumergroup(group);
    fields.set_setzeroifnotfound(false);
    ask(slot_,
        address,
        wire::RequestCode::kQueryConsumerOffset,
        std::move(fields),
        [done = std::move(done)](Result<net::Received>& result, const std::string& from) mutable {
            if (result && result->header.response() == wire::ResponseCode::kQueryNotFound) {
                done(std::optional<std::int64_t>());
                return;
            }
            const Result<wire::OffsetResponse> answer =
                fields_of<wire::OffsetResponse>(result, from);
            if (answer) {
                done(std::optional<std::int64_t>(answer->offset()));
            } else {
                done(answer.error());
            }
        });
}

void Offsets::initial(const QueueId& queue, StartFrom from, OnOffset done) {
    switch (from.kind) {
        case StartFrom::Kind::kLast:
            max(queue, std::move(done));
            return;
        case StartFrom::Kind::kFirst:
            min(queue, std::move(done));
            return;
        case StartFrom::Kind::kTimestamp:
            by_time(queue, from.timestamp, std::move(done));
            return;
    }
}

void Offsets::start(const std::string& group, const QueueId& queue, StartFrom from, OnOffset done) {
    if (group.empty()) {
        initial(queue, from, std::move(done));
        return;
    }
    auto shared = std::make_shared<OnOffset>(std::move(done));
    committed(
        group,
        queue,
        [self = *this, queue, from, shared](Result<std::optional<std::int64_t>> known) mutable {
            if (!known) {
                (*shared)(known.error());
            } else if (known->has_value()) {
                (*shared)(**known);
            } else {
                self.initial(queue, from, std::move(*shared));
            }
        });
}

void Offsets::commit(const std::string& group,
                     const std::map<QueueId, std::int64_t>& offsets,
                     OnDone done,
                     const CommitTokens& tokens) {
    auto gathered = std::make_shared<Gathered>(std::move(done));
    std::map<std::string, wire::CommitOffsetsRequest> requests;
    for (const auto& [queue, offset] : offsets) {
        const std::string address = runtime_.routes().master_of(queue.broker);
        if (address.empty()) {
            gathered->add(no_broker(queue));
            continue;
        }
        wire::CommitOffsetsRequest& request = requests[address];
        request.set_consumergroup(group);
        wire::CommitOffsetsRequest::Entry& entry = *request.add_offsets();
        entry.set_topic(queue.topic);
        entry.set_queueid(queue.queue);
        entry.set_offset(offset);
        if (const auto token = tokens.of_locks.find(queue); token != tokens.of_locks.end()) {
            entry.set_locktoken(token->second);
        }
        if (const auto token = tokens.of_grants.find(queue); token != tokens.of_grants.end()) {
            entry.set_granttoken(token->second);
        }
    }
    for (auto& [address, request] : requests) {
        ask(slot_,
            address,
            wire::RequestCode::kCommitOffsets,
            std::move(request),
            [gathered](Result<net::Received>& result, const std::string& from) {
                gathered->add(result ? check_response(*result, from) : result.error());
            });
    }
}

}  // namespace gantry::client
