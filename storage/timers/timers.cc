// SPDX-License-Identifier: Apache-2.0
#include "storage/timers/timers.h"

#include "common/log.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/send_number.h"
#include "storage/import/import_mark.h"
#include "storage/store_parts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");
constexpr std::size_t kUnitsAtOnce = 512;

TimerEntry entry_of(const QueueUnit& unit) noexcept {
    return {std::max<WallMs>(unit.tag, 0), unit.at, unit.size};
}

/// A refusal that will not change.
bool is_final(const Error& error) noexcept {
    return error.code == Errc::kRefused || error.code == Errc::kNotFound ||
           error.code == Errc::kGone;
}

}  // namespace

Timers::Timers(Store::Parts& parts) : parts_(parts), slots_(parts.files, parts.path("timers")) {}

Result<Appended> Timers::append(Queue& wheel,
                                const Queue& real,
                                std::span<const wire::Record> waiting) {
    constexpr std::int32_t kNumbered = wire::sys_flag::kNumbered;
    if (waiting.empty() || (waiting.front().sys_flag & kNumbered) == 0) {
        return parts_.append_messages(wheel, waiting);
    }
    GANTRY_ASSIGN_OR_RETURN(const wire::SendNumber number,
                            wire::parse_send_number(wire::find_property(
                                waiting.front().properties, wire::property::kSendNumber)));
    return parts_.state->producers().in_turn(
        {number, real.topic, real.queue_id, static_cast<std::uint32_t>(waiting.size())},
        parts_.clock.wall_ms(),
        [&] { return parts_.append_messages(wheel, waiting, kNumbered); });
}

const TimerTable& Timers::table() const noexcept {
    return parts_.state->timers();
}

Status Timers::open(Queue& wheel, WallMs now) {
    wheel_ = &wheel;
    const wire::TimerProgress progress = table().progress();
    const auto held = parts_.state->offset(kTimerGroup, kTimerTopic, wheel.queue_id);
    folded_ = std::max(wheel.min(), QueueOffset(held.value_or(0)));
    hold_ = folded_;
    hold_logged_ = QueueOffset(held.value_or(0));
    rolled_ = LogOffset(std::max(rolled_.value, progress.rolled()));
    folded_log_ = LogOffset(0);
    is_folded_ = false;
    chunk_ = 0;
    size_.store(0, std::memory_order_relaxed);
    dead_.store(0, std::memory_order_relaxed);
    floor_ = std::max({now / kTimerTickMs * kTimerTickMs, progress.duebefore(), WallMs{0}});
    resume(progress);
    GANTRY_TRY(slots_.open(floor_));
    GANTRY_ASSIGN_OR_RETURN(const auto imported,
                            ImportMark::load(parts_.files, parts_.options.directory));
    if (imported && rolled_ < imported->until()) {
        rolled_ = imported->until();  // nobody knows which of RocketMQ's were delivered
        GANTRY_TRY(commit());
    }
    return ok();
}

/// Goes on where the log says delivery was: a round that was under way ends with its last tick.
void Timers::resume(const wire::TimerProgress& progress) {
    done_before_ = progress.duebefore();
    done_known_ = LogOffset(progress.known());
    earlier_ = wire::TimerProgress::SET_ASIDE;
    round_ = {};
    if (progress.roundknown() > 0) {
        const WallMs tick = std::max(progress.lasttick(), progress.roundfrom());
        round_ = {progress.roundfrom(),
                  tick + kTimerTickMs,
                  LogOffset(progress.roundknown()),
                  progress.lasttick(),
                  LogOffset(progress.lastat()),
                  true,
                  true};
        floor_ = std::max(floor_, round_.until);
    }
}

/// The tick that it comes out with.
WallMs Timers::place_of(const TimerEntry& timer) const noexcept {
    const WallMs tick = timer.tick();
    if (round_.is_resumed && timer.at < round_.known && tick < round_.until) {
        return round_.until - kTimerTickMs;
    }
    return std::max(tick, floor_);
}

Result<bool> Timers::fold(std::size_t units_max) {
    if (is_folded_ && round_.is_active) {
        return false;  // what comes now is not of this round
    }
    GANTRY_TRY(slots_.write());
    const LogOffset confirmed = parts_.confirmed();
    std::array<QueueUnit, kUnitsAtOnce> units;
    folded_ = std::max(folded_, wheel_->min());
    while (units_max > 0) {
        const std::size_t count =
            wheel_->index->read(folded_, std::span(units).first(std::min(units_max, units.size())));
        for (std::size_t i = 0; i < count; ++i) {
            const QueueUnit& unit = units[i];
            if (!unit.is_hole() && unit.end() > confirmed) {
                is_folded_ = true;
                return false;
            }
            folded_ += 1;
            if (unit.is_hole()) {
                continue;
            }
            folded_log_ = unit.end();
            const TimerEntry timer = entry_of(unit);
            if (unit.at >= rolled_ && table().what(timer) != TimerTable::What::kOver) {
                slots_.add(timer, place_of(timer));
            }
        }
        units_max -= count;
        size_.store(static_cast<std::int64_t>(slots_.size()), std::memory_order_relaxed);
        if (count == 0) {
            is_folded_ = true;
            return false;
        }
    }
    return true;
}

Result<bool> Timers::prepare(WallMs now, std::size_t entries_max) {
    return slots_.advance(now, entries_max);
}

bool Timers::begin_round(WallMs now) {
    const WallMs until =
        std::min(now / kTimerTickMs * kTimerTickMs + kTimerTickMs, slots_.first_open());
    if (until <= floor_) {
        return false;
    }
    if (slots_.first_tick() >= until) {
        floor_ = until;
        return false;
    }
    round_ = {floor_, until, folded_log_, floor_, LogOffset(0), true, false};
    return true;
}

void Timers::end_round() {
    floor_ = std::max(floor_, round_.until);
    done_before_ = round_.until;
    done_known_ = std::max(done_known_, round_.known);
    if (!round_.is_resumed) {
        earlier_ = wire::TimerProgress::DROP;  // a whole round: it has passed them all
    }
    round_ = {};
}

Result<std::vector<TimerEntry>> Timers::due(WallMs now, std::size_t count_max) {
    if (unlogged_ >= kUnloggedMax) {
        GANTRY_TRY(commit());
    }
    while (is_folded_ && (round_.is_active || begin_round(now))) {
        const WallMs tick = slots_.first_tick();
        if (tick >= round_.until) {
            end_round();
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(std::vector<TimerEntry> found, slots_.peek(tick, count_max));
        std::int64_t bytes = 0;
        const auto end = std::find_if(found.begin(), found.end(), [&](const TimerEntry& timer) {
            return (bytes += timer.size) > kDueBytes;
        });
        found.erase(end == found.begin() ? end + 1 : end, found.end());
        chunk_ = found.size();
        chunk_end_ = found.back();
        chunk_end_.due = tick;
        dead_ -= std::count_if(found.begin(), found.end(), [this](const TimerEntry& timer) {
            return timer.at < rolled_;
        });
        std::erase_if(found, [this](const TimerEntry& timer) {
            return timer.at < rolled_ || !table().is_waiting(timer);
        });
        if (!found.empty()) {
            return found;
        }
        finish();
    }
    return std::vector<TimerEntry>();
}

void Timers::finish() {
    slots_.drop(chunk_end_.due, chunk_);
    round_.tick = chunk_end_.due;
    round_.at = chunk_end_.at;
    size_.store(static_cast<std::int64_t>(slots_.size()), std::memory_order_relaxed);
    unlogged_ += chunk_;
    chunk_ = 0;
}

void Timers::read(std::span<const TimerEntry> timers,
                  const std::function<void(const TimerEntry&, const Result<wire::Record>&)>& each) {
    constexpr std::int64_t kGapMax = 16 << 10;
    constexpr std::int64_t kWindowMax = 1 << 20;
    LogOffset from;
    LogOffset to;
    for (std::size_t i = 0; i < timers.size(); ++i) {
        const TimerEntry& timer = timers[i];
        if (parts_.lost->empty() && (timer.at < from || timer.at + timer.size > to)) {
            from = timer.at;
            to = timer.at + timer.size;
            for (std::size_t next = i + 1; next < timers.size(); ++next) {
                const LogOffset end = timers[next].at + timers[next].size;
                if (timers[next].at < from || timers[next].at - to > kGapMax ||
                    end - from > kWindowMax) {
                    break;
                }
                to = std::max(to, end);
            }
            window_.resize(static_cast<std::size_t>(to - from));
            const Result<std::size_t> got = parts_.log->copy(from, window_);
            to = from + static_cast<std::int64_t>(got ? *got : 0);
        }
        if (timer.at + timer.size > to) {
            to = from;  // across the end of a segment, or not there: by itself, and last
            const Result<std::string> bytes = parts_.record_at(timer.at);
            each(
                timer,
                bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error()));
            continue;
        }
        const Bytes bytes = Bytes(window_).subspan(static_cast<std::size_t>(timer.at - from),
                                                   static_cast<std::size_t>(timer.size));
        Result<wire::Record> record = wire::parse_record(bytes);
        if (record && (record->log_offset != timer.at || !wire::body_crc_matches(*record))) {
            record =
                Error{Errc::kCorrupt,
                      "record at log offset " + std::to_string(timer.at.value) + " is not whole"};
        }
        each(timer, record);
    }
}

Result<std::size_t> Timers::deliver(std::span<TimerBatch> batches, std::uint64_t& dropped) {
    std::size_t delivered = 0;
    const auto step = [&]() -> Result<Appended> {
        for (TimerBatch& batch : batches) {
            GANTRY_ASSIGN_OR_RETURN(const std::size_t count, deliver_batch(batch, dropped));
            delivered += count;
        }
        return Appended{LogOffset(0), parts_.log->appended(), QueueOffset(0), 0, 0, false};
    };
    const Result<Appended> done = parts_.state->commit_in_order(step);
    if (!done) {
        return done.error();
    }
    return delivered;
}

/// Called while no commit is under way: what is cancelled by now is not delivered.
Result<std::size_t> Timers::deliver_batch(TimerBatch& batch, std::uint64_t& dropped) {
    TimerTable& table = parts_.state->timers();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
        if (table.is_waiting(batch.timers[i])) {
            wire::Record& record = batch.records[kept] = batch.records[i];
            record.sys_flag |= wire::sys_flag::kEndsTimer;
            record.prepared_transaction_offset = batch.timers[i].at.value;
            batch.timers[kept++] = batch.timers[i];
        }
    }
    batch.records.resize(kept);
    batch.timers.resize(kept);
    std::size_t delivered = 0;
    // All at once; one by one when one of them is refused.
    const auto store = [&](std::size_t from, std::size_t count) -> Status {
        const auto appended = parts_.append_messages(*batch.queue,
                                                     std::span(batch.records).subspan(from, count),
                                                     wire::sys_flag::kEndsTimer);
        if (!appended) {
            return appended.error();
        }
        for (std::size_t i = from; i < from + count; ++i) {
            table.delivered(batch.timers[i].at);
        }
        delivered += count;
        return ok();
    };
    Status stored = kept == 0 ? ok() : store(0, kept);
    if (!stored && is_final(stored.error())) {
        for (std::size_t i = 0; i < kept; ++i) {
            stored = store(i, 1);
            if (!stored && !is_final(stored.error())) {
                return stored.error();
            }
            if (!stored) {
                ++dropped;
                kLog.error("delayed_message_dropped",
                           {{"topic", batch.queue->topic},
                            {"at", batch.timers[i].at.value},
                            {"error", stored.error()}});
            }
        }
        return delivered;
    }
    if (!stored) {
        return stored.error();
    }
    return delivered;
}

Status Timers::commit() {
    if (chunk_ > 0) {
        return ok();  // a part of it may be delivered
    }
    advance_hold();
    wire::StateRecord changes;
    wire::TimerProgress& progress = *changes.add_changes()->mutable_timerprogress();
    progress.set_duebefore(done_before_);
    progress.set_known(done_known_.value);
    if (round_.is_active) {
        progress.set_roundfrom(round_.from);
        progress.set_roundknown(round_.known.value);
        progress.set_lasttick(round_.tick);
        progress.set_lastat(round_.at.value);
    }
    progress.set_rolled(rolled_.value);
    progress.set_earlier(earlier_);
    if (hold_ > hold_logged_) {
        wire::OffsetPut& put = *changes.add_changes()->mutable_offsetput();
        put.set_group(std::string(kTimerGroup));
        put.set_topic(std::string(kTimerTopic));
        put.set_queueid(wheel_->queue_id);
        put.set_offset(hold_.value);
    }
    const Result<Appended> logged = parts_.state->commit(changes);
    if (!logged) {
        return logged.error();
    }
    if (earlier_ == wire::TimerProgress::SET_ASIDE) {
        earlier_ = wire::TimerProgress::KEEP;
    }
    hold_logged_ = std::max(hold_logged_, hold_);
    unlogged_ = 0;
    return ok();
}

bool Timers::is_stale() const noexcept {
    constexpr std::int64_t kDeadMax = 1'000'000;
    return !round_.is_active && dead_ > kDeadMax && dead_ > size_ / 2;
}

WallMs Timers::next_event() const noexcept {
    return round_.is_active ? 0 : slots_.next_event();
}

std::int64_t Timers::waiting() const noexcept {
    const auto cancelled = static_cast<std::int64_t>(table().cancelled());
    return std::max<std::int64_t>(size_ - dead_ - cancelled, 0);
}

}  // namespace gantry::storage
