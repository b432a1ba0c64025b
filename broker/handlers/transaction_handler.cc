// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/transaction_handler.h"

#include "broker/dispatcher.h"
#include "broker/transaction/transaction_service.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr std::uint32_t kListMax = 1'000;

bool is_commit(const wire::EndTransactionRequest& request) {
    return request.commitorrollback() == wire::sys_flag::kTransactionCommit;
}

/// Whether the producer speaks of the half message that is stored there.
Status check_half(const wire::EndTransactionRequest& request,
                  const storage::OpenTransaction& open) {
    if (open.group != request.producergroup()) {
        return Error{Errc::kRefused,
                     "producerGroup " + request.producergroup() + " is not the half message's, " +
                         open.group};
    }
    if (open.queue_offset.value != request.transtatetableoffset()) {
        return Error{Errc::kRefused,
                     "tranStateTableOffset " + std::to_string(request.transtatetableoffset()) +
                         " is not the half message's, " + std::to_string(open.queue_offset.value)};
    }
    return ok();
}

Status outcome_status(const Result<TransactionService::Outcome>& outcome, bool wants_commit) {
    if (!outcome) {
        return outcome.error();
    }
    if (*outcome == TransactionService::Outcome::kUnknown) {
        return Error{Errc::kUnknown,
                     "the transaction ended before; its message has no UNIQ_KEY that could tell "
                     "how"};
    }
    const bool is_committed = *outcome == TransactionService::Outcome::kCommitted;
    if (is_committed == wants_commit) {
        return ok();
    }
    return Error{Errc::kConflict,
                 is_committed ? "the transaction was committed before"
                              : "the transaction was rolled back or given up before"};
}

void reply_when_durable(LoopState& loop, const Addressee& to, LogOffset end) {
    loop.when_durable(end, [&loop, to](const Status& status) {
        if (status) {
            loop.reply(to, ResponseCode::kSuccess, {});
        } else {
            loop.fail(to, status.error());
        }
    });
}

/// What is not found is no topic here.
void fail(LoopState& loop, const Addressee& to, const Error& why) {
    if (why.code == Errc::kNotFound) {
        loop.reply(to, ResponseCode::kQueryNotFound, why.detail);
    } else {
        loop.fail(to, why);
    }
}

wire::TransactionList list_of(storage::Store& store, const wire::ListTransactionsRequest& request) {
    const storage::TransactionTable& table = store.transactions().table();
    wire::TransactionList list;
    list.set_open(table.size());
    for (const storage::OpenTransaction& open :
         table.list(LogOffset(request.from()), std::min(request.count(), kListMax))) {
        wire::TransactionList::Transaction& one = *list.add_transactions();
        one.set_logoffset(open.half.value);
        one.set_producergroup(open.group);
        one.set_storetime(open.store_ms);
        one.set_askedtime(open.asked_ms);
        one.set_asked(open.asked);
        const Result<std::string> bytes = store.record_at(open.half);
        const Result<wire::Record> half =
            bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error());
        if (half) {
            one.set_messageid(wire::format_message_id({half->store_host, open.half}));
            one.set_topic(
                std::string(wire::find_property(half->properties, wire::property::kRealTopic)));
        }
    }
    return list;
}

}  // namespace

void TransactionHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kEndTransaction, *this, &TransactionHandler::end);
    dispatcher.add(RequestCode::kListTransactions, *this, &TransactionHandler::list);
    dispatcher.add(RequestCode::kResumeCheckHalfMessage, *this, &TransactionHandler::resume);
}

void TransactionHandler::end(Call& call, const Request& request) {
    const std::int32_t wanted = request.commitorrollback();
    if (wanted == 0) {
        call.reply();
        return;
    }
    if (wanted != wire::sys_flag::kTransactionCommit &&
        wanted != wire::sys_flag::kTransactionRollback) {
        call.fail(
            {Errc::kRefused, "commitOrRollback " + std::to_string(wanted) + " is none of 0, 8, 12"},
            ResponseCode::kSystemError);
        return;
    }
    const auto open =
        context_.store->transactions().table().find(LogOffset(request.commitlogoffset()));
    if (!open) {
        tell_outcome(call.loop, call.addressee(), request);
        return;
    }
    if (const Status checked = check_half(request, *open); !checked) {
        call.fail(checked.error(), ResponseCode::kSystemError);
        return;
    }
    if (!is_commit(request)) {
        finish(call.loop,
               call.addressee(),
               request,
               context_.transactions->roll_back(call.loop, open->half));
        return;
    }
    context_.transactions->with_half(
        call.loop,
        *open,
        [this, &loop = call.loop, to = call.addressee(), request](Result<Bytes> half) {
            finish(loop,
                   to,
                   request,
                   half ? context_.transactions->commit(loop, *half)
                        : Result<LogOffset>(half.error()));
        });
}

void TransactionHandler::finish(LoopState& loop,
                                const Addressee& to,
                                const Request& request,
                                const Result<LogOffset>& end) {
    if (!end && end.error().code == Errc::kNotFound) {
        tell_outcome(loop, to, request);
        return;
    }
    if (!end) {
        loop.fail(to, end.error());
        return;
    }
    if (!to.to.is_oneway) {
        reply_when_durable(loop, to, *end);
    }
}

/// Of a transaction that is not open: it ended before, if it ever was. What ended it may not be on
/// the disk yet, nor visible.
void TransactionHandler::tell_outcome(LoopState& loop,
                                      const Addressee& to,
                                      const Request& request) {
    if (to.to.is_oneway) {
        return;
    }
    const LogOffset ended = context_.store->transactions().logged();
    loop.when_durable(ended, [this, &loop, to, request, ended](const Status& status) {
        if (status) {
            look_up_outcome(loop, to, request, ended);
        } else {
            loop.fail(to, status.error());
        }
    });
}

void TransactionHandler::look_up_outcome(LoopState& loop,
                                         const Addressee& to,
                                         const Request& request,
                                         LogOffset ended) {
    const Status submitted = context_.pool.submit([this, &loop, to, request, ended] {
        const auto outcome = context_.transactions->outcome_of(
            LogOffset(request.commitlogoffset()), request.producergroup(), ended);
        auto status = std::make_shared<Status>(outcome_status(outcome, is_commit(request)));
        loop.post([&loop, to, status] {
            if (*status) {
                loop.reply(to, ResponseCode::kSuccess, {});
            } else {
                fail(loop, to, status->error());
            }
        });
    });
    if (!submitted) {
        loop.fail(to, submitted.error());
    }
}

void TransactionHandler::list(Call& call, const wire::ListTransactionsRequest& request) {
    answer_from_pool(call, [store = context_.store, request, codec = call.to.codec] {
        Answer answer;
        wire::append_body(answer.body, codec, list_of(*store, request));
        return answer;
    });
}

void TransactionHandler::resume(Call& call, const wire::ResumeCheckHalfMessageRequest& request) {
    const Result<wire::MessageLocation> where = wire::parse_message_id(request.msgid());
    if (!where) {
        call.fail(where.error(), ResponseCode::kSystemError);
        return;
    }
    const Status submitted = context_.pool.submit(
        [this, &loop = call.loop, to = call.addressee(), at = where->log_offset] {
            auto end = std::make_shared<Result<LogOffset>>(context_.transactions->resume(at));
            loop.post([&loop, to, end] {
                if (*end) {
                    loop.want_flush();
                    reply_when_durable(loop, to, **end);
                } else {
                    fail(loop, to, end->error());
                }
            });
        });
    if (!submitted) {
        call.fail(submitted.error());
    }
}

}  // namespace gantry::broker
