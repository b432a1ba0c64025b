// SPDX-License-Identifier: Apache-2.0
#include "broker/pop/pop_service.h"

#include "broker/context.h"
#include "broker/delivery/runs.h"
#include "broker/filter/filtered_read.h"
#include "broker/loop_state.h"
#include "broker/pop/pop_receipt.h"
#include "common/log.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

using storage::OffsetSpan;
using storage::PopLease;
using storage::PopQueue;
using storage::PopShare;
using storage::ReadResult;
using storage::ReadStatus;
using wire::ResponseCode;
using Kind = PopTurn::Kind;

constexpr Logger kLog("broker");

/// Reads that may find nothing for a pop, until others get the loop.
constexpr int kRoundsMax = 8;
constexpr std::int64_t kAgainLaterMs = 5'000;  ///< when they could not be

/// The offsets of the records found. Where none was left out that is one run; else they say it.
Result<std::vector<OffsetSpan>> spans_of(QueueOffset from, const ReadResult& found) {
    std::vector<OffsetSpan> spans;
    if (found.next - from == found.count) {
        spans.push_back({from, found.next});
        return spans;
    }
    for (const storage::LogRun& run : found.runs) {
        GANTRY_TRY(wire::for_each_record(run.memory, [&](const std::byte*, const auto& record) {
            if (!spans.empty() && spans.back().end == record.queue_offset) {
                spans.back().end += 1;
            } else {
                spans.push_back({record.queue_offset, record.queue_offset + 1});
            }
            return ok();
        }));
    }
    return spans;
}

bool has(const std::vector<OffsetSpan>& spans, QueueOffset at) {
    return std::any_of(spans.begin(), spans.end(), [at](const OffsetSpan& span) {
        return span.from <= at && at < span.end;
    });
}

std::int64_t count_of(const std::vector<OffsetSpan>& spans) {
    std::int64_t count = 0;
    for (const OffsetSpan& span : spans) {
        count += span.count();
    }
    return count;
}

/// Those records of a read that lie in `spans`, as those hear of them who get them for the
/// `deliveries`th time.
Result<std::string> copies_of(const ReadResult& found,
                              const std::vector<OffsetSpan>& spans,
                              std::int32_t deliveries) {
    std::string copies;
    copies.reserve(found.bytes);
    for (const storage::LogRun& run : found.runs) {
        GANTRY_TRY(wire::for_each_record(
            run.memory, [&](const std::byte* at, const wire::Record& record) -> Status {
                if (!has(spans, record.queue_offset)) {
                    return ok();
                }
                const std::size_t begin = copies.size();
                copies.append(reinterpret_cast<const char*>(at), record.stored_bytes);
                wire::set_reconsume_times(reinterpret_cast<std::byte*>(copies.data()) + begin,
                                          record.reconsume_times + deliveries - 1);
                return ok();
            }));
    }
    return copies;
}

/// What is due in `span` is not, until `until_ms`.
void put_off(PopQueue& popped, OffsetSpan span, WallMs until_ms) {
    for (const PopLease& lease : popped.leases()) {
        if (lease.span.from < span.end && lease.span.end > span.from) {
            popped.renew(lease.span, lease.pop_ms, {until_ms, lease.pop_ms, 0});
        }
    }
}

}  // namespace

PopService::PopService(Context& context, TopicCreator& creator)
    : context_(context), dead_letters_(context, creator) {}

PopService::~PopService() = default;

void PopService::open() {
    table_ = &context_.store->pops().table();
    turns_ = std::make_unique<PopTurns>(context_, *table_);
    start_ms_ = context_.clock.wall_ms();
    start_ = context_.clock.steady();
    for (LoopState* const loop : context_.loops) {
        replies_.push_back(std::make_unique<PopReplies>(context_, *loop));
    }
    write_timer_ = std::make_unique<net::Timer>(context_.loops[0]->loop(),
                                                [this] { replies_[0]->write_all(); });
}

void PopService::start() {
    write_timer_->start_every(std::chrono::milliseconds(context_.options.pop_write_interval_ms));
}

void PopService::stop() {
    write_timer_->cancel();
    replies_[0]->write_all();
}

void PopService::close() {
    write_timer_.reset();
    replies_.clear();
}

PopReplies& PopService::replies(const LoopState& loop) {
    return *replies_[loop.index()];
}

LoopState& PopService::loop_of(const PopQuery& query) const {
    return *context_.loops[static_cast<std::size_t>(query.to.peer & kPeerLoopMask)];
}

WallMs PopService::now_ms() const {
    return start_ms_ +
           std::chrono::duration_cast<std::chrono::milliseconds>(context_.clock.steady() - start_)
               .count();
}

void PopService::pop(PopQuery query) {
    LoopState& loop = loop_of(query);
    if (loop.find_peer(query.to.peer) == nullptr) {
        return;
    }
    const bool may_wait = query.may_wait && !context_.is_stopping.load(std::memory_order_relaxed);
    if (!try_answer(query, !may_wait)) {
        context_.counters.pops.parked.add();
        replies(loop).write_leases();
        loop.park(std::move(query));
    }
}

bool PopService::try_answer(PopQuery& query, bool is_last) {
    if (query.topic->is_deleted()) {
        loop_of(query).reply(query.to,
                             ResponseCode::kTopicNotExist,
                             "topic[" + query.topic->name() + "] was deleted");
        return true;
    }
    if (is_limited(query)) {
        if (is_last) {
            replies(loop_of(query)).write_leases();
            answer_nothing(query);
        }
        return is_last;
    }
    for (int round = 0; round < kRoundsMax; ++round) {
        const std::optional<PopTurn> turn = turns_->take(query, now_ms());
        if (!turn) {
            if (is_last) {
                replies(loop_of(query)).write_leases();
                answer_nothing(query);
            }
            return is_last;
        }
        ReadResult found = read(query, *turn);
        if (found.is_cold || (needs_bytes(*turn, found) && !are_in_memory(found))) {
            read_cold(query, *turn);
            return true;
        }
        if (settle(query, *turn, found)) {
            return true;
        }
    }
    serve_later(std::move(query));
    return true;
}

/// Whether a limit of rates holds it up. Those that wait are tried again soon, by PopParking.
bool PopService::is_limited(PopQuery& query) {
    LoopState& loop = loop_of(query);
    const PeerId peer = query.to.peer;
    const std::string& topic = query.topic->name();
    if (loop.flow().delivery_wait(peer, topic, query.group).count() > 0) {
        context_.counters.flow.delayed.add();
        return true;
    }
    loop.flow().cut(peer, topic, query.group, query.count_max, query.bytes_max);
    return false;
}

void PopService::serve_later(PopQuery query) {
    LoopState& loop = loop_of(query);
    auto later = std::make_shared<PopQuery>(std::move(query));
    loop.post([this, later] { pop(std::move(*later)); });
}

void PopService::answer_nothing(const PopQuery& query) {
    wire::PopMessageResponse fields;
    fields.set_poptime(now_ms());
    fields.set_invisibletime(query.invisible_ms);
    fields.set_reviveqid(0);
    fields.set_restnum(0);
    loop_of(query).reply(query.to, ResponseCode::kPollingTimeout, "NO_MESSAGE_IN_QUEUE", &fields);
}

storage::ReadRequest PopService::request_of(const PopQuery& query, const PopTurn& turn) const {
    storage::ReadRequest request;
    request.from = turn.span.from;
    request.bytes_max = query.bytes_max;
    request.count_max = query.count_max;
    if (turn.kind != Kind::kNew) {
        request.count_max = static_cast<std::uint32_t>(turn.span.count());
    } else if (!turn.queue->topic.starts_with(wire::kDeadLetterPrefix)) {
        request.now = now_ms();
    }
    return request;
}

ReadResult PopService::read(const PopQuery& query, const PopTurn& turn) const {
    storage::ReadRequest request = request_of(query, turn);
    request.is_in_loop = true;
    if (turn.kind == Kind::kNew) {
        request.tag_hashes = query.filter.tags.get();
        if (query.filter.sql != nullptr) {
            return FilteredReader(*context_.store, context_.counters)
                .read(*turn.queue, request, *query.filter.sql);
        }
    }
    return context_.store->read(*turn.queue, request);
}

bool PopService::needs_bytes(const PopTurn& turn, const ReadResult& found) const {
    return found.status == ReadStatus::kFound &&
           (turn.kind != Kind::kNew || found.next - turn.span.from != found.count);
}

void PopService::read_cold(const PopQuery& query, const PopTurn& turn) {
    context_.counters.cold_reads.add();
    const bool is_sql = turn.kind == Kind::kNew && query.filter.sql != nullptr;
    storage::ColdRequest request;
    request.queue = turn.queue;
    request.units =
        is_sql ? FilteredReader::cold_request(request_of(query, turn)) : request_of(query, turn);
    request.tags = turn.kind == Kind::kNew ? query.filter.tags : nullptr;
    request.group = query.group;
    request.stream = query.to.peer;
    const Status taken = context_.store->read_cold(
        std::move(request), [this, query, turn](Result<ReadResult> result) {
            if (result) {
                if (const Status prepared = prepare_cold(query, turn, *result); !prepared) {
                    result = prepared.error();
                }
            }
            loop_of(query).cold_replies().give(
                *context_.store,
                [this, asked = PopQuery(query), turn, found = std::move(result)]() mutable {
                    answer_cold(std::move(asked), turn, found);
                });
        });
    if (!taken) {
        turns_->end(query.group, turn, [](PopQueue&) {});
        loop_of(query).fail(query.to, taken.error());
    }
}

void PopService::answer_cold(PopQuery query, const PopTurn& turn, Result<ReadResult>& found) {
    // Others may have waited for the queue's turn.
    loop_of(query).touch_pops(turn.queue->topic);
    if (!found) {
        turns_->end(query.group, turn, [](PopQueue&) {});
        loop_of(query).fail(query.to, found.error());
    } else if (!settle(query, turn, *found)) {
        pop(std::move(query));
    }
}

/// In the thread of the store that has read it, so that the loop need not wait for the disk.
Status PopService::prepare_cold(const PopQuery& query,
                                const PopTurn& turn,
                                ReadResult& found) const {
    if (turn.kind == Kind::kNew && query.filter.sql != nullptr) {
        GANTRY_ASSIGN_OR_RETURN(
            found,
            FilteredReader(*context_.store, context_.counters)
                .sift(*turn.queue, request_of(query, turn), *query.filter.sql, std::move(found)));
    }
    return needs_bytes(turn, found) ? load_runs(found) : ok();
}

/// False: the query needs another turn.
bool PopService::settle(PopQuery& query, const PopTurn& turn, ReadResult& found) {
    context_.counters.expired.add(found.expired);
    if (found.status != ReadStatus::kFound) {
        step_over(query, turn, found);
        return false;
    }
    if (turn.kind == Kind::kDead) {
        bury(query, turn, found);
        return false;
    }
    Result<std::vector<OffsetSpan>> spans = spans_of(turn.span.from, found);
    if (spans && turn.kind == Kind::kAgain) {
        if (const auto readable = copies_of(found, *spans, 1); !readable) {
            spans = readable.error();
        }
    }
    if (!spans) {
        // Its bytes are no records: what a reader finds damaged is told by the scrubber.
        kLog.error("pop_unreadable", {{"topic", turn.queue->topic}, {"error", spans.error()}});
        turns_->end(query.group, turn, [&](PopQueue& popped) {
            popped.finish({turn.span.from, found.next});
            popped.pass_to(found.next);
        });
        return false;
    }
    return hand_out(query, turn, found, std::move(*spans));
}

bool PopService::hand_out(PopQuery& query,
                          const PopTurn& turn,
                          ReadResult& found,
                          std::vector<OffsetSpan> spans) {
    PopReply reply;
    const WallMs pop_ms = std::max(now_ms(), turn.pop_ms_before + 1);
    const std::int32_t deliveries = turn.deliveries + 1;
    const bool is_again = turn.kind == Kind::kAgain;
    const bool is_same = turns_->end(query.group, turn, [&](PopQueue& popped) {
        if (is_again) {
            spans = still_due(popped, turn, found.next);
        }
        for (const OffsetSpan& span : spans) {
            popped.hand_out({span, pop_ms + query.invisible_ms, pop_ms, deliveries});
        }
        popped.pass_to(found.next);
    });
    if (!is_same || spans.empty()) {
        return false;
    }
    if (is_again) {
        reply.copies = copies_of(found, spans, deliveries).value_or(std::string());
        found.count = static_cast<std::uint32_t>(count_of(spans));
        context_.counters.pops.again.add(found.count);
    }
    LoopState& loop = loop_of(query);
    loop.flow().delivered(query.to.peer,
                          query.topic->name(),
                          query.group,
                          {found.count, static_cast<std::int64_t>(found.bytes)});
    const std::int32_t queue_id = turn.queue->queue_id;
    reply.to = query.to;
    reply.fields.set_poptime(pop_ms);
    reply.fields.set_invisibletime(query.invisible_ms);
    reply.fields.set_reviveqid(0);
    reply.fields.set_restnum(std::max<std::int64_t>(found.max - found.next, 0));
    if (query.to.to.codec != wire::Codec::kNative) {
        const bool is_retry = turn.queue->topic.starts_with(wire::kRetryPrefix);
        reply.fields.set_startoffsetinfo(start_offset_info(is_retry, queue_id, spans.front().from));
        reply.fields.set_msgoffsetinfo(message_offset_info(is_retry, queue_id, spans));
    }
    reply.found = std::move(found);
    reply.group = query.group;
    reply.queue = turn.queue;
    reply.spans = std::move(spans);
    replies(loop_of(query)).add(std::move(reply));
    return true;
}

/// They are in the dead-letter topic before they are done here: a crash in between puts them there
/// twice, never nowhere.
void PopService::bury(const PopQuery& query, const PopTurn& turn, const ReadResult& found) {
    LoopState& loop = loop_of(query);
    const std::vector<OffsetSpan> dead =
        table_->with(query.group, turn.queue->topic, [&](PopShare& share) {
            const PopQueue* const popped = share.find(turn.queue->queue_id);
            return popped == nullptr || popped->life() != turn.life
                       ? std::vector<OffsetSpan>()
                       : still_due(*popped, turn, found.next);
        });
    QueueOffset buried = turn.span.from;
    Status stored = ok();
    for (const storage::LogRun& run : found.runs) {
        if (!stored) {
            break;
        }
        stored = wire::for_each_record(
            run.memory, [&](const std::byte*, const wire::Record& record) -> Status {
                if (has(dead, record.queue_offset)) {
                    GANTRY_TRY(dead_letters_.append(
                        loop, query.group, record, record.reconsume_times + turn.deliveries));
                }
                buried = record.queue_offset + 1;
                return ok();
            });
    }
    if (!stored) {
        kLog.warn("dead_letter_failed",
                  {{"group", std::string_view(query.group)}, {"error", stored.error()}});
    }
    turns_->end(query.group, turn, [&](PopQueue& popped) {
        for (const OffsetSpan& span : dead) {
            popped.finish({span.from, std::min(span.end, buried)});
        }
        if (!stored) {
            put_off(popped, {buried, turn.span.end}, now_ms() + kAgainLaterMs);
        }
    });
    replies(loop).write_all();
}

/// Nothing to give between the turn's beginning and found.next: left out by the filter, deleted, or
/// lost to damage.
void PopService::step_over(const PopQuery& query, const PopTurn& turn, const ReadResult& found) {
    if (found.status == ReadStatus::kCorrupt) {
        context_.counters.lost_told.add(static_cast<std::uint64_t>(found.next - found.lost_from));
        context_.lost_notices.tell({query.group,
                                    std::string(turn.queue->topic),
                                    turn.queue->queue_id,
                                    found.lost_from,
                                    found.next});
    }
    turns_->end(query.group, turn, [&](PopQueue& popped) {
        if (turn.kind == Kind::kNew) {
            popped.pass_to(found.next);
        } else {
            popped.finish({turn.span.from, std::min(turn.span.end, found.next)});
        }
        if (turn.kind != Kind::kNew && found.next <= turn.span.from) {
            put_off(popped, turn.span, now_ms() + kAgainLaterMs);
        }
    });
}

/// What of a turn's messages below `end` nobody has acknowledged or renewed since it began.
std::vector<OffsetSpan> PopService::still_due(const PopQueue& popped,
                                              const PopTurn& turn,
                                              QueueOffset end) const {
    return popped.due_within(
        {turn.span.from, std::min(turn.span.end, end)}, now_ms(), turn.deliveries);
}

std::int64_t PopService::acknowledge(std::string_view group,
                                     std::string_view topic,
                                     const Piece& piece) {
    const std::int64_t count = table_->with(group, topic, [&](PopShare& share) -> std::int64_t {
        PopQueue* const popped = share.find(piece.queue_id);
        return popped == nullptr ? 0 : popped->acknowledge(piece.span, piece.pop_ms);
    });
    context_.counters.pops.acked.add(static_cast<std::uint64_t>(count));
    context_.counters.pops.stale.add(static_cast<std::uint64_t>(piece.span.count() - count));
    return count;
}

PopService::Renewed PopService::renew(LoopState& loop,
                                      std::string_view group,
                                      const storage::Topic& topic,
                                      const Piece& piece,
                                      const Change& change) {
    const WallMs now = now_ms();
    Renewed renewed;
    renewed.pop_ms = change.is_new_receipt ? std::max(now, piece.pop_ms) : piece.pop_ms;
    renewed.count = table_->with(group, topic.name(), [&](PopShare& share) -> std::int64_t {
        PopQueue* const popped = share.find(piece.queue_id);
        const PopQueue::Terms terms{
            now + change.invisible_ms, renewed.pop_ms, change.is_undelivered ? 1 : 0};
        return popped == nullptr ? 0 : popped->renew(piece.span, piece.pop_ms, terms);
    });
    context_.counters.pops.stale.add(
        static_cast<std::uint64_t>(piece.span.count() - renewed.count));
    if (change.invisible_ms == 0) {
        loop.touch_pops(topic.name());
    }
    return renewed;
}

}  // namespace gantry::broker
