// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/send_back_handler.h"

#include "broker/delivery/delay_service.h"
#include "broker/delivery/retry_policy.h"
#include "broker/dispatcher.h"
#include "broker/timers/timer_service.h"
#include "broker/topic_creator.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr std::int32_t kSendsOwnMaximum = 121;  // clients from 3.4.9 on

}  // namespace

void SendBackHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kConsumerSendMsgBack, *this, &SendBackHandler::send_back);
}

void SendBackHandler::send_back(Call& call, const Request& request) {
    const auto group = context_.store->state().group(request.group());
    if (!group) {
        call.fail(ResponseCode::kSubscriptionGroupNotExist,
                  "subscription group not exist, " + request.group());
        return;
    }
    if (group->retryqueuenums() <= 0) {
        call.reply();
        return;
    }
    const Result<storage::Topic*> topic = creator_.ensure_retry(call.loop, request.group());
    if (!topic) {
        call.fail(topic.error());
        return;
    }
    if (((*topic)->perm() & storage::perm::kWrite) == 0) {
        call.fail(ResponseCode::kNoPermission,
                  "the topic[" + (*topic)->name() + "] sending message is forbidden");
        return;
    }
    Job job{request, group->retrymaxtimes(), group->groupretrypolicy()};
    if (request.has_maxreconsumetimes() &&
        (call.is_native() || call.header().version >= kSendsOwnMaximum)) {
        job.reconsume_max = request.maxreconsumetimes();
    }
    const Status submitted = context_.pool.submit(
        [this, &loop = call.loop, to = call.addressee(), job = std::move(job)] {
            auto record = std::make_shared<Result<std::string>>(
                context_.store->record_at(LogOffset(job.request.offset())));
            loop.post([this, &loop, to, job, record] {
                if (!*record) {
                    const bool is_native = to.to.codec == wire::Codec::kNative;
                    loop.reply(
                        to,
                        is_native ? ResponseCode::kQueryNotFound : ResponseCode::kSystemError,
                        "look message by offset failed, " + std::to_string(job.request.offset()));
                    return;
                }
                if (!is_fenced(loop, to, job, as_bytes(**record))) {
                    store_copy(loop, to, job, as_bytes(**record));
                }
            });
        });
    if (!submitted) {
        call.fail(submitted.error());
    }
}

bool SendBackHandler::is_fenced(LoopState& loop,
                                const Addressee& to,
                                const Job& job,
                                Bytes original) {
    if (job.request.locktoken() == 0) {
        return false;
    }
    const Result<wire::Record> record = wire::parse_record(original);
    if (!record) {
        return false;  // store_copy says why
    }
    const QueueLocks::Name name{job.request.group(), record->topic, record->queue_id};
    if (!context_.locks.is_fenced(name, job.request.locktoken())) {
        return false;
    }
    context_.counters.fenced.add();
    loop.reply(to, ResponseCode::kFenced, context_.locks.remark(name, job.request.locktoken()));
    return true;
}

void SendBackHandler::store_copy(LoopState& loop,
                                 const Addressee& to,
                                 const Job& job,
                                 Bytes original) {
    const Result<LogOffset> end = append_copy(loop, job, original);
    if (!end) {
        loop.fail(to, end.error());
        return;
    }
    context_.counters.sent_back.add();
    loop.when_durable(*end, [&loop, to](const Status& status) {
        if (status) {
            loop.reply(to, ResponseCode::kSuccess, {});
        } else {
            loop.fail(to, status.error());
        }
    });
}

Result<LogOffset> SendBackHandler::append_copy(LoopState& loop, const Job& job, Bytes original) {
    GANTRY_ASSIGN_OR_RETURN(const wire::Record record, wire::parse_record(original));
    const std::int32_t asked = job.request.delaylevel();
    if (asked < 0 || record.reconsume_times >= job.reconsume_max) {
        return dead_letters_.append(loop, job.request.group(), record, record.reconsume_times + 1);
    }
    std::string properties = retry_properties(record);
    GANTRY_ASSIGN_OR_RETURN(storage::Topic* const topic,
                            creator_.ensure_retry(loop, job.request.group()));
    const std::int32_t level = asked > 0 ? std::min(asked, DelayService::kLevels)
                                         : retry_level(job.policy, record.reconsume_times);
    (void)wire::append_property(properties, wire::property::kDelay, std::to_string(level));
    wire::Record copy = record;
    copy.prepared_transaction_offset = 0;  // it is not what ended a transaction
    copy.topic = topic->name();
    copy.queue_id = static_cast<std::int32_t>(
        loop.random().below(static_cast<std::uint64_t>(std::max(topic->write_queues(), 1))));
    copy.reconsume_times = record.reconsume_times + 1;
    copy.properties = properties;
    const WaitingMessage waiting =
        wait_until_due(copy, context_.clock.wall_ms() + DelayService::level_ms(level), nullptr);
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended,
                            context_.timers->store(loop, waiting));
    return appended.end;
}

}  // namespace gantry::broker
