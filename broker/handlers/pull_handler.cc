// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/pull_handler.h"

#include "broker/delivery/out_of_range.h"
#include "broker/delivery/runs.h"
#include "broker/dispatcher.h"
#include "broker/replication/slave_rules.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

using storage::ReadStatus;
using wire::RequestCode;
using wire::ResponseCode;

// Bits of a pull's sysFlag.
constexpr std::int32_t kHasCommit = 1;
constexpr std::int32_t kMaySuspend = 2;

constexpr std::uint32_t kStockBytesMax = 256U << 10U;
constexpr std::uint32_t kNativeBytesMax = 8U << 20U;
constexpr std::int32_t kCountMax = 65'536;
constexpr std::chrono::milliseconds kLimitedHold{1'000};
constexpr std::int64_t kSuspendMsMax = 120'000;
/// At a slave, which is fed without the reader's doing: then it may go back to the master.
constexpr std::chrono::milliseconds kSlaveHoldMax{500};

/// Cold reads that an SQL92 filter may match nothing in, until the pull is answered with that.
constexpr std::uint32_t kColdRoundsMax = 8;

std::string_view status_name(ResponseCode code) {
    switch (code) {
        case ResponseCode::kPullNotFound:
            return "NO_NEW_MSG";
        case ResponseCode::kPullRetryImmediately:
            return "NO_MATCHED_MESSAGE";
        case ResponseCode::kDataLost:
            return "DATA_LOST";
        default:
            return "OFFSET_MOVED";
    }
}

}  // namespace

void PullHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kPullMessage, *this, &PullHandler::pull);
    dispatcher.add(RequestCode::kLitePullMessage, *this, &PullHandler::pull);
}

void PullHandler::pull(Call& call) {
    context_.counters.pulls.add();
    if (!context_.options.replication.slave_reads && is_slave()) {
        refuse_not_master(call);
        return;
    }
    wire::PullMessageRequest& request = call.loop.pull_request;
    request.Clear();
    if (const Status decoded = wire::decode_fields(call.header(), request); !decoded) {
        call.fail(decoded.error(), ResponseCode::kSystemError);
        return;
    }
    PullQuery query;
    query.to = call.addressee();
    if (is_refused(call, request, query)) {
        return;
    }
    set_limits(call, request, query);
    query.group = request.consumergroup();
    if ((request.sysflag() & kHasCommit) != 0 && request.commitoffset() >= 0 &&
        !request.consumergroup().empty() && context_.replica->takes_writes()) {
        call.loop.offsets().put(
            {request.consumergroup(), request.topic(), request.queueid(), request.commitoffset()});
    }
    if (is_limited(query)) {
        park_limited(call, std::move(query));
        return;
    }
    storage::ReadResult result = read(query, false);
    if (!answer(query, result, query.hold.count() == 0)) {
        call.loop.park(std::move(query));
    }
}

bool PullHandler::is_limited(const PullQuery& query) {
    LoopState& loop = loop_of(query);
    const std::chrono::nanoseconds wait =
        loop.flow().delivery_wait(query.to.peer, query.topic->name(), query.group);
    if (wait.count() == 0) {
        return false;
    }
    context_.counters.flow.delayed.add();
    loop.flow_wakes().wake_after(query.queue, wait);
    return true;
}

/// Also one that does not want to wait does so for a moment, else it comes again at once.
void PullHandler::park_limited(Call& call, PullQuery query) {
    const bool is_full = call.loop.long_poll().count() >=
                         static_cast<std::size_t>(context_.options.parked_pulls_max);
    if (call.to.is_oneway || is_full || context_.is_stopping.load(std::memory_order_relaxed)) {
        send_nothing(query);
        return;
    }
    query.hold = std::max(query.hold, kLimitedHold);
    call.loop.park(std::move(query));
}

void PullHandler::send_nothing(const PullQuery& query) {
    storage::ReadResult nothing;
    nothing.next = query.from;
    nothing.min = query.queue->min();
    nothing.max = context_.store->confirmed_max(*query.queue);
    send_status(
        query,
        nothing,
        query.has_moved ? ResponseCode::kPullRetryImmediately : ResponseCode::kPullNotFound);
}

void PullHandler::set_limits(const Call& call,
                             const wire::PullMessageRequest& request,
                             PullQuery& query) const {
    const std::uint32_t bytes_max = call.is_native() ? kNativeBytesMax : kStockBytesMax;
    query.bytes_max = kStockBytesMax;
    if (request.has_maxmsgbytes() && request.maxmsgbytes() > 0) {
        query.bytes_max = static_cast<std::uint32_t>(request.maxmsgbytes());
    }
    query.bytes_max = std::min(query.bytes_max, bytes_max);
    query.count_max = static_cast<std::uint32_t>(std::clamp(request.maxmsgnums(), 1, kCountMax));
    call.loop.flow().cut(
        call.peer.id, request.topic(), request.consumergroup(), query.count_max, query.bytes_max);
    const bool is_full = call.loop.long_poll().count() >=
                         static_cast<std::size_t>(context_.options.parked_pulls_max);
    if ((request.sysflag() & kMaySuspend) != 0 && !is_full && !call.to.is_oneway &&
        !context_.is_stopping.load(std::memory_order_relaxed)) {
        query.hold = std::chrono::milliseconds(
            std::clamp<std::int64_t>(request.suspendtimeoutmillis(), 0, kSuspendMsMax));
        query.hold = is_slave() ? std::min(query.hold, kSlaveHoldMax) : query.hold;
    }
}

LoopState& PullHandler::loop_of(const PullQuery& query) const {
    return *context_.loops[static_cast<std::size_t>(query.to.peer & kPeerLoopMask)];
}

storage::ReadRequest PullHandler::request_of(const PullQuery& query) const {
    storage::ReadRequest request;
    request.from = query.from;
    request.bytes_max = query.bytes_max;
    request.count_max = query.count_max;
    // What was given up is kept for people, however old.
    const bool is_dead = query.queue->topic.starts_with(wire::kDeadLetterPrefix);
    request.now = is_dead ? 0 : context_.clock.wall_ms();
    return request;
}

storage::ReadResult PullHandler::read(const PullQuery& query, bool is_fresh) const {
    storage::ReadRequest request = request_of(query);
    request.tag_hashes = query.filter.tags.get();
    request.is_in_loop = true;
    request.is_fresh = is_fresh;
    storage::ReadResult result = query.filter.sql != nullptr
                                     ? FilteredReader(*context_.store, context_.counters)
                                           .read(*query.queue, request, *query.filter.sql)
                                     : context_.store->read(*query.queue, request);
    if (result.expired > 0) {
        context_.counters.expired.add(result.expired);
    }
    return result;
}

bool PullHandler::try_answer(PullQuery& query, bool is_last) {
    if (query.topic->is_deleted()) {
        loop_of(query).reply(query.to,
                             ResponseCode::kTopicNotExist,
                             "topic[" + query.topic->name() + "] was deleted");
        return true;
    }
    if (is_limited(query)) {
        if (is_last) {
            send_nothing(query);
        }
        return is_last;
    }
    // What wakes a parked pull was appended just now.
    storage::ReadResult result = read(query, true);
    // Filtered out by tag: look on behind it as long as there is something to look at.
    while (query.filter.sql == nullptr && result.status == ReadStatus::kNoMatch &&
           result.next < result.max) {
        query.from = result.next;
        query.has_moved = true;
        result = read(query, true);
    }
    return answer(query, result, is_last);
}

bool PullHandler::answer(PullQuery& query, storage::ReadResult& result, bool is_last) {
    if (result.is_cold) {
        query.has_moved = query.has_moved || result.next > query.from;
        query.from = result.next;
        query.was_cold = true;
        read_cold(query);
        return true;
    }
    if (result.status != ReadStatus::kFound && is_slave()) {
        return answer_as_slave(query, result, is_last);
    }
    switch (result.status) {
        case ReadStatus::kFound:
            if (Peer* const peer = loop_of(query).find_peer(query.to.peer)) {
                send_found(*peer->connection, query, result);
            }
            return true;
        case ReadStatus::kNoMatch:
            query.has_moved = true;
            query.from = result.next;
            if (!is_last && result.next >= result.max) {
                return false;
            }
            send_status(query, result, ResponseCode::kPullRetryImmediately);
            return true;
        case ReadStatus::kAtEnd:
            if (!is_last) {
                return false;
            }
            send_status(query,
                        result,
                        query.has_moved ? ResponseCode::kPullRetryImmediately
                                        : ResponseCode::kPullNotFound);
            return true;
        case ReadStatus::kCorrupt:
            send_lost(query, result);
            return true;
        case ReadStatus::kTooSmall:
        case ReadStatus::kTooLarge:
            send_moved(query, result);
            return true;
    }
    return true;
}

bool PullHandler::answer_as_slave(PullQuery& query, storage::ReadResult& result, bool is_last) {
    if (result.status == ReadStatus::kNoMatch) {
        query.has_moved = true;
        query.from = result.next;
    } else {
        result.next = query.from;
    }
    const bool has_more = result.status == ReadStatus::kNoMatch && result.next < result.max;
    if (!is_last && !has_more) {
        return false;
    }
    const bool is_end = result.status == ReadStatus::kAtEnd && !query.has_moved &&
                        context_.replica->master_address().empty();
    send_status(
        query, result, is_end ? ResponseCode::kPullNotFound : ResponseCode::kPullRetryImmediately);
    return true;
}

bool PullHandler::is_slave() const noexcept {
    return context_.replica->role() == ReplicaRole::kSlave;
}

std::int64_t PullHandler::suggested(const PullQuery& query,
                                    QueueOffset next,
                                    const storage::ReadResult& result) const noexcept {
    const ReplicaInfo& replica = *context_.replica;
    if (replica.role() == ReplicaRole::kSlave) {
        const bool has_more = query.from < next && next < result.max;
        return has_more ? replica.member() : 0;
    }
    const bool may_leave = query.was_cold && context_.options.replication.slave_reads;
    const std::int64_t slave = may_leave ? replica.reading_slave() : -1;
    return slave > 0 ? slave : broker_id(replica, context_.options.id);
}

const wire::PullMessageResponse& PullHandler::where(const PullQuery& query,
                                                    QueueOffset next,
                                                    const storage::ReadResult& result) {
    wire::PullMessageResponse& response = loop_of(query).pull_response;
    response.set_suggestwhichbrokerid(suggested(query, next, result));
    response.set_nextbeginoffset(next.value);
    response.set_minoffset(result.min.value);
    response.set_maxoffset(result.max.value);
    return response;
}

void PullHandler::send_status(const PullQuery& query,
                              const storage::ReadResult& result,
                              ResponseCode code) {
    const wire::PullMessageResponse& response = where(query, result.next, result);
    loop_of(query).reply(query.to, code, status_name(code), &response);
}

void PullHandler::send_moved(const PullQuery& query, storage::ReadResult& result) {
    const OffsetRange range{result.min, result.max};
    const OutOfRange policy = out_of_range_of(context_.store->state().group(query.group));
    result.next = next_offset(policy, query.from, range);
    context_.counters.shares.out_of_range.add();
    context_.jump_notices.tell({query.group,
                                query.topic->name(),
                                query.queue->queue_id,
                                query.from,
                                policy == OutOfRange::kFail ? query.from : result.next});
    if (policy != OutOfRange::kFail) {
        send_status(query, result, ResponseCode::kPullOffsetMoved);
        return;
    }
    const bool is_native = query.to.to.codec == wire::Codec::kNative;
    const wire::PullMessageResponse& response = where(query, query.from, result);
    loop_of(query).reply(query.to,
                         is_native ? ResponseCode::kOffsetOutOfRange : ResponseCode::kSystemError,
                         "offset " + std::to_string(query.from.value) + " is outside " +
                             std::to_string(result.min.value) + ".." +
                             std::to_string(result.max.value) +
                             ", and offsetOutOfRange of group [" + query.group + "] is fail",
                         &response);
}

/// Stock clients know no answer for it: theirs says that nothing matched up to there.
void PullHandler::send_lost(const PullQuery& query, const storage::ReadResult& result) {
    context_.counters.lost_told.add(static_cast<std::uint64_t>(result.next - result.lost_from));
    context_.lost_notices.tell(
        {query.group, query.topic->name(), query.queue->queue_id, result.lost_from, result.next});
    if (query.to.to.codec != wire::Codec::kNative) {
        send_status(query, result, ResponseCode::kPullRetryImmediately);
        return;
    }
    wire::PullMessageResponse& response = loop_of(query).pull_response;
    response.set_lostfrom(result.lost_from.value);
    response.set_lostto(result.next.value);
    send_status(query, result, ResponseCode::kDataLost);
    response.clear_lostfrom();
    response.clear_lostto();
}

void PullHandler::send_found(net::Connection& connection,
                             const PullQuery& query,
                             const storage::ReadResult& result) {
    const wire::PullMessageResponse& response = where(query, result.next, result);
    if (query.to.to.is_oneway) {
        return;
    }
    connection.begin_reply(query.to.to, ResponseCode::kSuccess, "FOUND", &response, result.bytes);
    append_runs(connection.output(), result);
    context_.counters.messages_out.add(result.count);
    context_.counters.bytes_out.add(result.bytes);
    LoopState& loop = loop_of(query);
    loop.flow().delivered(query.to.peer,
                          query.topic->name(),
                          query.group,
                          {result.count, static_cast<std::int64_t>(result.bytes)});
}

void PullHandler::read_cold(const PullQuery& query) {
    context_.counters.cold_reads.add();
    storage::ColdRequest request;
    request.queue = query.queue;
    request.units = query.filter.sql == nullptr ? request_of(query)
                                                : FilteredReader::cold_request(request_of(query));
    request.tags = query.filter.tags;
    request.group = query.group;
    request.stream = query.to.peer;
    const Status taken = context_.store->read_cold(
        std::move(request), [this, query](Result<storage::ReadResult> result) {
            if (result && query.filter.sql != nullptr) {
                result = sift(query, std::move(*result));
            }
            loop_of(query).cold_replies().give(
                *context_.store,
                [this, asked = PullQuery(query), found = std::move(result)]() mutable {
                    answer_cold(asked, found);
                });
        });
    if (!taken) {
        loop_of(query).fail(query.to, taken.error());
    }
}

/// In the thread of the store that has read it, so that the loop need not look at it.
Result<storage::ReadResult> PullHandler::sift(const PullQuery& query,
                                              storage::ReadResult found) const {
    return FilteredReader(*context_.store, context_.counters)
        .sift(*query.queue, request_of(query), *query.filter.sql, std::move(found));
}

void PullHandler::answer_cold(PullQuery& query, Result<storage::ReadResult>& result) {
    if (!result) {
        loop_of(query).fail(query.to, result.error());
        return;
    }
    context_.counters.expired.add(result->expired);
    const bool goes_on = query.filter.sql != nullptr && result->status == ReadStatus::kNoMatch &&
                         result->next < result->max && query.cold_rounds < kColdRoundsMax &&
                         loop_of(query).find_peer(query.to.peer) != nullptr;
    if (!goes_on) {
        static_cast<void>(answer(query, *result, true));
        return;
    }
    ++query.cold_rounds;
    query.from = result->next;
    query.has_moved = true;
    storage::ReadResult more = read(query, false);
    static_cast<void>(answer(query, more, true));
}

}  // namespace gantry::broker
