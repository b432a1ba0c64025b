// SPDX-License-Identifier: Apache-2.0
#include "storage/pop/pop_queue.h"

#include <algorithm>
#include <iterator>
#include <string>

namespace gantry::storage {
namespace {

OffsetSpan span_of(std::int64_t from, std::int64_t count) {
    return {QueueOffset(from), QueueOffset(from + count)};
}

void describe(const PopLease& lease, wire::PopLease& into) {
    into.set_from(lease.span.from.value);
    into.set_count(lease.span.count());
    into.set_until(lease.until_ms);
    into.set_poptime(lease.pop_ms);
    into.set_deliveries(lease.deliveries);
}

Error refused(std::string_view field, std::int64_t value, std::string_view limit) {
    return {Errc::kRefused,
            "pop " + std::string(field) + ' ' + std::to_string(value) + " is not " +
                std::string(limit)};
}

Status check_span(std::string_view field, std::int64_t from, std::int64_t count, std::int64_t end) {
    if (from < 0 || from > end) {
        return refused(std::string(field) + " from", from, "within 0 to next");
    }
    if (count <= 0 || count > end - from) {
        return refused(std::string(field) + " count", count, "within 1 and what is below next");
    }
    return ok();
}

}  // namespace

Status check_pop(const wire::PopPut& put) {
    if (put.next() < 0) {
        return refused("next", put.next(), "0 or more");
    }
    if (put.committed() < 0 || put.committed() > put.next()) {
        return refused("committed", put.committed(), "within 0 to next");
    }
    for (const wire::PopLease& lease : put.leases()) {
        GANTRY_TRY(check_span("lease", lease.from(), lease.count(), put.next()));
        if (lease.deliveries() < 0) {
            return refused("deliveries", lease.deliveries(), "0 or more");
        }
    }
    for (const wire::OffsetRange& done : put.done()) {
        GANTRY_TRY(check_span("done", done.from(), done.count(), put.next()));
    }
    return ok();
}

PopQueue::Leases::iterator PopQueue::erase(Leases::iterator at) {
    due_.erase({at->second.until_ms, at->first});
    in_flight_ -= at->second.end - at->first;
    return leases_.erase(at);
}

void PopQueue::insert(const PopLease& lease) {
    leases_.emplace(lease.span.from,
                    Lease{lease.span.end, lease.until_ms, lease.pop_ms, lease.deliveries});
    due_.emplace(lease.until_ms, lease.span.from);
    in_flight_ += lease.span.count();
    last_receipt_ = std::max(last_receipt_, lease.pop_ms);
}

/// Cuts the parts of leases that lie in `span` and that `takes` wants out, and returns them.
template <class Takes>
std::vector<PopLease> PopQueue::take_out(OffsetSpan span, Takes takes) {
    std::vector<PopLease> taken;
    if (span.from >= span.end) {
        return taken;
    }
    auto at = leases_.upper_bound(span.from);
    if (at != leases_.begin() && std::prev(at)->second.end > span.from) {
        --at;
    }
    while (at != leases_.end() && at->first < span.end) {
        const Lease lease = at->second;
        const OffsetSpan whole{at->first, lease.end};
        if (!takes(lease)) {
            ++at;
            continue;
        }
        at = erase(at);
        const OffsetSpan piece{std::max(whole.from, span.from), std::min(whole.end, span.end)};
        const auto part = [&lease](OffsetSpan of) {
            return PopLease{of, lease.until_ms, lease.pop_ms, lease.deliveries};
        };
        if (whole.from < piece.from) {
            insert(part({whole.from, piece.from}));
        }
        if (piece.end < whole.end) {
            insert(part({piece.end, whole.end}));
        }
        taken.push_back(part(piece));
    }
    return taken;
}

std::optional<PopLease> PopQueue::due(WallMs now, std::int64_t count_max) const {
    if (next_due() > now) {
        return std::nullopt;
    }
    auto at = leases_.find(due_.begin()->second);
    const Lease& first = at->second;
    PopLease found{{at->first, first.end}, first.until_ms, first.pop_ms, first.deliveries};
    for (++at; at != leases_.end() && at->first == found.span.end && at->second.until_ms <= now &&
               at->second.deliveries == found.deliveries && found.span.count() < count_max;
         ++at) {
        found.span.end = at->second.end;
    }
    found.span.end =
        std::min(found.span.end, found.span.from + std::max<std::int64_t>(count_max, 1));
    return found;
}

std::vector<OffsetSpan> PopQueue::due_within(OffsetSpan span,
                                             WallMs now,
                                             std::int32_t deliveries) const {
    std::vector<OffsetSpan> spans;
    auto at = leases_.upper_bound(span.from);
    if (at != leases_.begin() && std::prev(at)->second.end > span.from) {
        --at;
    }
    for (; at != leases_.end() && at->first < span.end; ++at) {
        const Lease& lease = at->second;
        if (lease.until_ms > now || lease.deliveries != deliveries) {
            continue;
        }
        const OffsetSpan piece{std::max(at->first, span.from), std::min(lease.end, span.end)};
        if (!spans.empty() && spans.back().end == piece.from) {
            spans.back().end = piece.end;
        } else {
            spans.push_back(piece);
        }
    }
    return spans;
}

std::vector<PopLease> PopQueue::leases() const {
    std::vector<PopLease> all;
    all.reserve(leases_.size());
    for (const auto& [from, lease] : leases_) {
        all.push_back({{from, lease.end}, lease.until_ms, lease.pop_ms, lease.deliveries});
    }
    return all;
}

void PopQueue::pass_to(QueueOffset next) {
    if (next > next_) {
        next_ = next;
        is_moved_ = true;
    }
}

void PopQueue::hand_out(const PopLease& lease) {
    take_out(lease.span, [](const Lease&) { return true; });
    insert(lease);
    pass_to(lease.span.end);
    note_lease(lease);
}

std::int64_t PopQueue::acknowledge(OffsetSpan span, WallMs pop_ms) {
    std::int64_t count = 0;
    for (const PopLease& piece :
         take_out(span, [pop_ms](const Lease& lease) { return lease.pop_ms == pop_ms; })) {
        count += piece.span.count();
        note_done(piece.span);
    }
    return count;
}

void PopQueue::finish(OffsetSpan span) {
    for (const PopLease& piece : take_out(span, [](const Lease&) { return true; })) {
        note_done(piece.span);
    }
}

std::int64_t PopQueue::renew(OffsetSpan span, WallMs pop_ms, const Terms& terms) {
    std::int64_t count = 0;
    for (PopLease& piece :
         take_out(span, [pop_ms](const Lease& lease) { return lease.pop_ms == pop_ms; })) {
        count += piece.span.count();
        piece.until_ms = terms.until_ms;
        piece.pop_ms = terms.pop_ms;
        piece.deliveries = std::max(piece.deliveries - terms.undelivered, 0);
        insert(piece);
        note_lease(piece);
    }
    return count;
}

void PopQueue::note_lease(const PopLease& lease) {
    if (is_whole_) {
        return;
    }
    fresh_.push_back(lease);
    if (fresh_.size() > kFreshMax) {
        write_failed();
    }
}

void PopQueue::note_done(OffsetSpan span) {
    is_moved_ = true;
    if (is_whole_) {
        return;
    }
    const auto behind = done_.lower_bound(span.from);
    if (behind != done_.begin() && std::prev(behind)->second == span.from) {
        std::prev(behind)->second = span.end;
    } else {
        done_.emplace(span.from, span.end);
    }
}

void PopQueue::write_changes(wire::PopPut& put) {
    if (is_whole_) {
        write_whole(put);
    } else {
        put.set_next(next_.value);
        put.set_committed(committed().value);
        for (const PopLease& lease : fresh_) {
            describe(lease, *put.add_leases());
        }
        for (const auto& [from, end] : done_) {
            if (end > committed()) {
                wire::OffsetRange& done = *put.add_done();
                done.set_from(from.value);
                done.set_count(end - from);
            }
        }
    }
    written();
}

void PopQueue::written() noexcept {
    fresh_.clear();
    done_.clear();
    is_new_ = false;
    is_moved_ = false;
    is_whole_ = false;
}

void PopQueue::write_failed() noexcept {
    fresh_.clear();
    done_.clear();
    is_whole_ = true;
}

void PopQueue::write_whole(wire::PopPut& put) const {
    put.set_whole(true);
    put.set_next(next_.value);
    put.set_committed(committed().value);
    for (const auto& [from, lease] : leases_) {
        describe({{from, lease.end}, lease.until_ms, lease.pop_ms, lease.deliveries},
                 *put.add_leases());
    }
}

void PopQueue::apply(const wire::PopPut& put) {
    if (put.whole()) {
        leases_.clear();
        due_.clear();
        in_flight_ = 0;
        next_ = QueueOffset(put.next());
    }
    pass_to(QueueOffset(put.next()));
    for (const wire::PopLease& lease : put.leases()) {
        hand_out({span_of(lease.from(), lease.count()),
                  lease.until(),
                  lease.poptime(),
                  lease.deliveries()});
    }
    for (const wire::OffsetRange& done : put.done()) {
        finish(span_of(done.from(), done.count()));
    }
    finish({QueueOffset(0), QueueOffset(put.committed())});
    written();
}

}  // namespace gantry::storage
