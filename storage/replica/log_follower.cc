// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/log_follower.h"

#include "common/failpoint/failpoint.h"
#include "common/log.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

Error corrupt(const LogEntry& entry, const std::string& why) {
    return Error{
        Errc::kCorrupt,
        "record at log offset " + std::to_string(entry.at.value) + " of the leader's log: " + why};
}

bool has_zero(std::string_view text) noexcept {
    return text.find('\0') != std::string_view::npos;
}

}  // namespace

LogFollower::LogFollower(Store::Parts& parts)
    : parts_(parts),
      raw_(*parts.log),
      quarantine_(*parts.lost, parts.clock),
      queues_(parts, quarantine_),
      fold_(parts, queues_) {}

Status LogFollower::open() {
    GANTRY_TRY(fold_.load_marks());
    const LogOffset end = parts_.log->appended();
    queues_.begin(end);
    fold_.begin({end, end, std::max(end, fold_.known_until())});
    bytes_.begin(end);
    received_.store(end.value, std::memory_order_release);
    return ok();
}

Status LogFollower::receive(LogOffset at, Bytes bytes) {
    GANTRY_TRY(may_receive(at));
    Status done = fold_ready();  // what a full disk held up
    while (done && !bytes.empty()) {
        done = take(bytes);
        GANTRY_FAILPOINT("replica.received");
        const Status folded = fold_ready();
        done = folded ? done : folded;
    }
    if (!done && done.error().code == Errc::kCorrupt && !broken_) {
        GANTRY_TRY(drop_partial());
    }
    return done;
}

Status LogFollower::may_receive(LogOffset at) {
    if (broken_) {
        return *broken_;
    }
    if (at == parts_.log->appended()) {
        return drop_partial();
    }
    if (at != received()) {
        return Error{Errc::kConflict,
                     "bytes at log offset " + std::to_string(at.value) +
                         ", but those received end at " + std::to_string(received().value)};
    }
    return ok();
}

/// As many as fit the segment, to where they belong; frames that are whole with them are ready.
Status LogFollower::take(Bytes& bytes) {
    const LogOffset at = received();
    GANTRY_ASSIGN_OR_RETURN(RawAppend::Room room, raw_.room(at));
    const std::size_t count = std::min(bytes.size(), room.memory.size());
    std::memcpy(room.memory.data(), bytes.data(), count);
    bytes = bytes.subspan(count);
    segment_ = std::move(room.segment);
    const LogOffset end = at + static_cast<std::int64_t>(count);
    received_.store(end.value, std::memory_order_release);
    return bytes_.take(segment_, end, ready_);
}

/// A snapshot has a frame and its end of the log, or neither.
Status LogFollower::fold_ready() {
    if (ready_.empty()) {
        return ok();
    }
    folding_to_.store(ready_.back().end.value, std::memory_order_release);
    const EpochList epochs = parts_.state->epochs();
    std::size_t done = 0;
    const Status folded = parts_.state->in_order([&] {
        Status step = ok();
        for (; step && done < ready_.size(); done += step ? 1 : 0) {
            step = check(ready_[done]);
            step = step ? fold(ready_[done]) : step;
        }
        GANTRY_FAILPOINT("replica.folded");
        if (done > 0) {
            const LeaderFrame& last = ready_[done - 1];
            raw_.publish(last.end, last.records.back().record.store_ms);
        }
        return step;
    });
    if (!is_broken()) {
        folding_to_.store(parts_.log->appended().value, std::memory_order_release);
    }
    if (done > 0) {
        ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(done));
        if (EpochList now = parts_.state->epochs(); now != epochs) {
            parts_.log->set_epochs(std::move(now));
        }
        raw_.tell();
    }
    return folded;
}

/// Before anything of it is known.
Status LogFollower::check(const LeaderFrame& frame) const {
    for (const LogEntry& entry : frame.records) {
        const wire::Record& record = entry.record;
        if (record.queue_id < 0 || record.queue_id >= kQueuesPerTopicMax) {
            return corrupt(entry, "its queue id is " + std::to_string(record.queue_id));
        }
        // A start would take it for a page that was never written.
        if (!fold_.may_skip(entry.at) && (has_zero(record.topic) || has_zero(record.properties))) {
            return corrupt(entry, "zeros in its topic or properties");
        }
    }
    return fold_.is_unlisted(frame.records.front()) ? ok() : check_place(frame);
}

/// Whether the frame follows the end of its queue, and whether there is room for its units.
Status LogFollower::check_place(const LeaderFrame& frame) const {
    const LogEntry& first = frame.records.front();
    const wire::Record& record = first.record;
    QueueIndex& queue = parts_.queues->queue(record.topic, record.queue_id);
    const QueueOffset next = queue.max();
    const bool begins_late = queue.min() == next && parts_.log->first() > LogOffset(0);
    const bool may_skip = begins_late || fold_.may_skip(first.at) || !parts_.lost->empty();
    if (record.queue_offset < next || (record.queue_offset > next && !may_skip)) {
        return corrupt(first,
                       "its offset in queue " + std::to_string(record.queue_id) + " of topic " +
                           std::string(record.topic) + " is " +
                           std::to_string(record.queue_offset.value) + ", not " +
                           std::to_string(next.value));
    }
    return queue.ensure_room(static_cast<std::uint32_t>(frame.records.size()));
}

Status LogFollower::fold(const LeaderFrame& frame) {
    for (const LogEntry& entry : frame.records) {
        if (const std::string why = fold_.place(entry); !why.empty()) {
            return break_off(entry, why);
        }
        if (const Status taken = fold_.take(entry); !taken) {
            return break_off(entry, taken.error().detail);
        }
    }
    parts_.appended_messages.add(frame.records.size());
    parts_.appended_bytes.add(bytes_between(frame.records.front().at, frame.end));
    return ok();
}

/// What was folded of a frame cannot be taken back: a start does that.
Status LogFollower::break_off(const LogEntry& entry, const std::string& why) {
    is_broken_.store(true, std::memory_order_release);
    broken_ = corrupt(entry, why + "; this store follows no more until it is opened anew");
    kLog.error("the leader's log cannot be followed", {{"reason", *broken_}});
    return *broken_;
}

Status LogFollower::drop_partial() {
    const LogOffset end = parts_.log->appended();
    if (received() == end) {
        return ok();
    }
    GANTRY_TRY(raw_.wipe(received()));
    ready_.clear();
    bytes_.begin(end);
    received_.store(end.value, std::memory_order_release);
    return ok();
}

Result<Appended> LogFollower::append_state(const std::string& body) {
    GANTRY_TRY(drop_partial());
    LogOffset at = received();
    GANTRY_ASSIGN_OR_RETURN(const RawAppend::Room room, raw_.room(at));
    wire::Record record;
    record.topic = kStateTopic;
    record.queue_offset = parts_.queues->queue(kStateTopic, 0).max();
    record.born_ms = parts_.clock.wall_ms();
    record.born_host = parts_.options.store_host;
    record.store_ms = raw_.store_ms();
    record.store_host = parts_.options.store_host;
    record.body = as_bytes(body);
    const std::size_t size = wire::record_bytes(record);
    std::string bytes;
    if (size + wire::kBlankBytes > room.memory.size()) {
        bytes.resize(room.memory.size());
        auto* const blank = reinterpret_cast<std::byte*>(bytes.data());
        store_be<std::uint32_t>(blank, static_cast<std::uint32_t>(bytes.size()));
        store_be<std::uint32_t>(blank + 4, wire::kMagicBlank);
        at += static_cast<std::int64_t>(bytes.size());
    }
    record.log_offset = at;
    const std::size_t begin = bytes.size();
    bytes.resize(begin + size);
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()) + begin, size});
    GANTRY_TRY(receive(received(), as_bytes(bytes)));
    Appended appended;
    appended.first = at;
    appended.end = at + static_cast<std::int64_t>(size);
    appended.queue_offset = record.queue_offset;
    appended.count = 1;
    appended.store_ms = record.store_ms;
    return appended;
}

}  // namespace gantry::storage
