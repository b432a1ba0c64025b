// SPDX-License-Identifier: Apache-2.0
// The part of a transactional producer's engine that talks to brokers: half messages and outcomes.
#include "client/core/awaited.h"
#include "client/core/runtime.h"
#include "client/produce/compress.h"
#include "client/produce/record_writer.h"
#include "client/produce/retry_after.h"
#include "client/produce/transaction_engine.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPauseFirst{20};
constexpr milliseconds kPauseMax{500};
constexpr milliseconds kDialLimit{300};  // at a broker not connected

milliseconds left_until(SteadyTime deadline) {
    return std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
}

/// Sleeps a while that doubles with each attempt, at most until `deadline`.
void pause(std::uint32_t attempt, SteadyTime deadline) {
    const milliseconds longest =
        std::min(kPauseMax, kPauseFirst * (1 << std::min(attempt, std::uint32_t{5})));
    std::this_thread::sleep_for(std::clamp(left_until(deadline), milliseconds{0}, longest));
}

bool is_not_stored(Errc code) {
    return code == Errc::kGone || code == Errc::kBusy || code == Errc::kDiskFull ||
           code == Errc::kReadOnly || code == Errc::kNotFound;
}

Error closed() {
    return Error{Errc::kClosed, "the client has stopped"};
}

}  // namespace

bool TransactionEngine::may_repeat(Errc code) noexcept {
    switch (code) {
        case Errc::kRefused:
        case Errc::kNotFound:
        case Errc::kDenied:
        case Errc::kConflict:
        case Errc::kClosed:
            return false;
        default:
            return true;
    }
}

Result<QueueId> TransactionEngine::choose_queue(const TopicRoute& route,
                                                const std::string& avoided) {
    const std::vector<QueueId>& queues = route.write_queues;
    if (queues.empty()) {
        return Error{Errc::kGone, "topic " + route.topic + " has no writable queue now"};
    }
    const std::size_t first = next_queue_.fetch_add(1, std::memory_order_relaxed);
    for (std::size_t i = 0; i < queues.size(); ++i) {
        const QueueId& queue = queues[(first + i) % queues.size()];
        if (queue.broker != avoided) {
            return queue;
        }
    }
    return queues[first % queues.size()];
}

Result<Transaction> TransactionEngine::store_half(Message& message, const std::string& id) {
    GANTRY_TRY(wire::check_topic_name(message.topic));
    message.properties.emplace_back(wire::property::kUniqueKey, id);
    message.properties.emplace_back(wire::property::kHalf, "true");
    message.properties.emplace_back(wire::property::kProducerGroup, options_.group);
    if (options_.check_immunity.count() >= 0) {
        message.properties.emplace_back(wire::property::kCheckImmunity,
                                        std::to_string(options_.check_immunity.count()));
    }
    GANTRY_TRY(check_message(message, {options_.message_bytes_max}));
    const std::int32_t body_flags = compress_body(message.body, options_.compression);
    wire::SendMessageRequest fields;
    fields.set_producergroup(options_.group);
    fields.set_topic(message.topic);
    fields.set_defaulttopic("TBW102");
    fields.set_defaulttopicqueuenums(4);
    fields.set_sysflag(wire::sys_flag::kTransactionPrepared | body_flags);
    fields.set_borntimestamp(runtime_.clock().wall_ms());
    fields.set_flag(message.flag);
    fields.set_properties(stored_properties(message, fields.borntimestamp()));
    const SteadyTime deadline = std::chrono::steady_clock::now() + options_.deadline;
    std::string avoided;
    for (std::uint32_t attempt = 0;;) {
        milliseconds limited{0};
        const auto try_once = [&]() -> Result<Transaction> {
            GANTRY_ASSIGN_OR_RETURN(const RoutePtr route,
                                    runtime_.routes().wait_for(message.topic));
            GANTRY_ASSIGN_OR_RETURN(const QueueId queue, choose_queue(*route, avoided));
            avoided = queue.broker;
            fields.set_queueid(queue.queue);
            GANTRY_ASSIGN_OR_RETURN(
                Transaction stored,
                try_half(fields, message, *route->find_broker(queue.broker), deadline, limited));
            stored.id = id;
            stored.queue = queue;
            return stored;
        };
        Result<Transaction> stored = try_once();
        if (limited > milliseconds{0} && limited < left_until(deadline)) {
            std::this_thread::sleep_for(limited);
            continue;
        }
        if (stored || !is_not_stored(stored.error().code) ||
            left_until(deadline) <= milliseconds{0}) {
            return stored;
        }
        // It takes no messages: another one may be about to take over.
        const bool may_fail_over = stored.error().code == Errc::kReadOnly;
        if (attempt >= options_.retries_max && !may_fail_over) {
            return stored;
        }
        if (may_fail_over || stored.error().code == Errc::kNotFound) {
            runtime_.routes().refresh(message.topic);
        }
        pause(attempt++, deadline);
    }
}

Result<Transaction> TransactionEngine::try_half(const wire::SendMessageRequest& fields,
                                                const Message& message,
                                                const BrokerRoute& broker,
                                                SteadyTime deadline,
                                                milliseconds& limited) {
    const std::string address = broker.master();
    if (address.empty()) {
        return Error{Errc::kReadOnly, "broker " + broker.name + " has no master now"};
    }
    if (!runtime_.memory().try_take(message.body.size())) {
        return Error{
            Errc::kBusy,
            "memory_bytes_max " + std::to_string(runtime_.memory().bytes_max()) + " B is used up"};
    }
    const auto sent = wait_for<Result<wire::SendMessageResponse>>([&](auto done) {
        auto shared = std::make_shared<decltype(done)>(std::move(done));
        const bool posted = slot_.post([&, shared] {
            net::Channel& channel = slot_.channel(address);
            const milliseconds left = std::max(left_until(deadline), milliseconds{1});
            channel.call({wire::RequestCode::kSendMessageV2, &fields, message.body},
                         channel.is_up() ? left : std::min(left, std::max(kDialLimit, left / 3)),
                         [shared, address, &limited](Result<net::Received>& result) {
                             limited = retry_after_of(result).value_or(milliseconds{0});
                             (*shared)(fields_of<wire::SendMessageResponse>(result, address));
                         });
        });
        if (!posted) {
            (*shared)(closed());
        }
    });
    runtime_.memory().give(message.body.size());
    if (!sent) {
        return sent.error();
    }
    const Result<wire::MessageLocation> at = wire::parse_message_id(sent->msgid());
    if (!at) {
        return Error{Errc::kUnknown, address + " answered msgId \"" + sent->msgid() + "\""};
    }
    Transaction stored;
    stored.half_log_offset = at->log_offset.value;
    stored.half_queue_offset = sent->queueoffset();
    stored.broker_address = address;
    return stored;
}

Status TransactionEngine::tell(const Transaction& transaction,
                               TransactionOutcome outcome,
                               bool is_answer) {
    const bool commits = outcome == TransactionOutcome::kCommit;
    wire::EndTransactionRequest fields;
    fields.set_topic(transaction.queue.topic);
    fields.set_producergroup(options_.group);
    fields.set_transtatetableoffset(transaction.half_queue_offset);
    fields.set_commitlogoffset(transaction.half_log_offset);
    fields.set_commitorrollback(commits ? wire::sys_flag::kTransactionCommit
                                        : wire::sys_flag::kTransactionRollback);
    fields.set_fromtransactioncheck(is_answer);
    fields.set_msgid(transaction.id);
    fields.set_transactionid(transaction.id);
    const SteadyTime deadline = std::chrono::steady_clock::now() + options_.deadline;
    for (std::uint32_t attempt = 0;; ++attempt) {
        std::string address = runtime_.routes().master_of(transaction.queue.broker);
        if (address.empty()) {
            address = transaction.broker_address;
        }
        const auto told = wait_for<Status>([&](auto done) {
            auto shared = std::make_shared<decltype(done)>(std::move(done));
            const bool posted = slot_.post([&, shared] {
                slot_.channel(address).call({wire::RequestCode::kEndTransaction, &fields, {}},
                                            std::max(left_until(deadline), milliseconds{1}),
                                            [shared, address](Result<net::Received>& result) {
                                                (*shared)(result ? check_response(*result, address)
                                                                 : Status(result.error()));
                                            });
            });
            if (!posted) {
                (*shared)(closed());
            }
        });
        if (told) {
            (commits ? committed_ : rolled_back_).add();
            return told;
        }
        if (!may_repeat(told.error().code) || left_until(deadline) <= milliseconds{0}) {
            return told;
        }
        pause(attempt, deadline);
    }
}

}  // namespace gantry::client
