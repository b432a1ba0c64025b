// SPDX-License-Identifier: Apache-2.0
#include "broker/timers/delayed_frames.h"

#include "broker/timers/delayed_message.h"
#include "broker/timers/timer_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::broker {

namespace {

Error refused(std::size_t index, const std::string& why) {
    return Error{Errc::kRefused, "record " + std::to_string(index) + " of a frame: " + why};
}

Status check(const wire::Record& record, std::size_t index, const storage::Queue& queue) {
    if (record.topic != queue.topic || record.queue_id != queue.queue_id) {
        return refused(index,
                       "it is of topic \"" + std::string(record.topic) + "\", queue " +
                           std::to_string(record.queue_id));
    }
    if ((record.sys_flag & wire::sys_flag::kTransactionMask) != 0 ||
        (index > 0 && (record.sys_flag & wire::sys_flag::kNumbered) != 0)) {
        return refused(index, "sysFlag " + std::to_string(record.sys_flag));
    }
    // It is encoded anew, with a CRC of its own.
    if (!wire::body_crc_matches(record)) {
        return refused(index, "the CRC of its body does not match");
    }
    return ok();
}

/// The waiting records of a frame, in a vector that does not move.
Result<std::vector<WaitingMessage>> wait_all(Call& call,
                                             const wire::SendRecordsRequest& request,
                                             const storage::Queue& queue) {
    const WallMs now = call.context.clock.wall_ms();
    std::vector<WaitingMessage> waiting;
    const auto add = [&](const std::byte*, const wire::Record& record) -> Status {
        GANTRY_TRY(check(record, waiting.size(), queue));
        GANTRY_ASSIGN_OR_RETURN(const auto due,
                                due_of(record.properties, now, call.context.options.delay_ms_max));
        waiting.push_back(wait_until_due(record, due.value_or(now), &call.loop.random()));
        return ok();
    };
    GANTRY_TRY(wire::for_each_record(call.body(), add));
    if (waiting.size() != request.count() || waiting.empty()) {
        return Error{Errc::kRefused,
                     std::to_string(waiting.size()) + " records, but the count says " +
                         std::to_string(request.count())};
    }
    return waiting;
}

/// What a send was answered, from what it stored. Blocks on the disk.
wire::SendRecordsResponse answer_of(const Context& context, const storage::Appended& stored) {
    wire::SendRecordsResponse response;
    response.set_queueoffset(stored.queue_offset.value);
    response.set_logoffset(stored.first.value);
    response.set_storetimestamp(stored.store_ms);
    LogOffset at = stored.first;
    while (at < stored.end) {
        const Result<std::string> bytes = context.store->record_at(at);
        const Result<wire::Record> record =
            bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error());
        if (!record) {
            break;  // the retention has taken it: it is stored, that is what counts
        }
        response.add_recallhandles(recall_handle_of(record->properties, context.options.name));
        response.add_logoffsets(at.value);
        at += static_cast<std::int64_t>(record->stored_bytes);
    }
    return response;
}

}  // namespace

Result<storage::Appended> store_delayed_frame(Call& call,
                                              const wire::SendRecordsRequest& request,
                                              const storage::Queue& queue,
                                              wire::SendRecordsResponse& response) {
    Context& context = call.context;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<WaitingMessage> waiting,
                            wait_all(call, request, queue));
    std::vector<wire::Record> records;
    records.reserve(waiting.size());
    for (const WaitingMessage& message : waiting) {
        records.push_back(message.record);
        records.back().properties = message.properties;
        records.back().store_host = context.store_host;
    }
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended,
                            context.timers->store_frame(call.loop, queue, records));
    response.set_queueoffset(appended.queue_offset.value);
    response.set_logoffset(appended.first.value);
    response.set_storetimestamp(appended.store_ms);
    LogOffset at = appended.first;
    for (const wire::Record& record : records) {
        response.add_recallhandles(recall_handle_of(record.properties, context.options.name));
        response.add_logoffsets(at.value);
        at += static_cast<std::int64_t>(wire::record_bytes(record));
    }
    return appended;
}

void answer_delayed_repeat(Call& call, const storage::Appended& stored) {
    Context& context = call.context;
    call.loop.when_durable(
        stored.end,
        [&context, &loop = call.loop, to = call.addressee(), stored](const Status& status) {
            if (!status) {
                loop.fail(to, status.error());
                return;
            }
            const Status submitted = context.pool.submit([&context, &loop, to, stored] {
                auto answer =
                    std::make_shared<wire::SendRecordsResponse>(answer_of(context, stored));
                loop.post([&loop, to, answer] {
                    loop.reply(to, wire::ResponseCode::kSuccess, {}, answer.get());
                });
            });
            if (!submitted) {
                loop.fail(to, submitted.error());
            }
        });
}

}  // namespace gantry::broker
