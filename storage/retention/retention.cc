// SPDX-License-Identifier: Apache-2.0
#include "storage/retention/retention.h"

#include "common/log.h"
#include "storage/retention/retention_clock.h"
#include "storage/store_parts.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");
constexpr std::chrono::milliseconds kRoomInterval{1'000};
constexpr std::chrono::hours kClockSaveInterval{1};
/// How far the wall clock may be ahead before it is told: reading it is not exact.
constexpr std::int64_t kClockLagTold = 60'000;
/// Looks at which the log found no room though there seems to be some, before more goes.
constexpr std::uint32_t kFullLooksMax = 3;

std::string ranges_text(const std::vector<ConsumeQueues::Moved>& moved, const std::string& topic) {
    std::string text;
    for (const ConsumeQueues::Moved& queue : moved) {
        if (queue.topic == topic) {
            text += (text.empty() ? "queue " : ", queue ") + std::to_string(queue.queue_id) + ": " +
                    std::to_string(queue.from.value) + " to " + std::to_string(queue.to.value - 1);
        }
    }
    return text;
}

}  // namespace

Retention::Retention(Store::Parts& parts)
    : parts_(parts),
      options_(parts.options.retention),
      deleted_segments_(parts.metrics.counter("gantry_retention_deleted_segments_total",
                                              "Files of the log deleted")),
      deleted_bytes_(parts.metrics.counter("gantry_retention_deleted_bytes_total",
                                           "Bytes of the log deleted")),
      deleted_unconsumed_(parts.metrics.counter(
          "gantry_retention_deleted_unconsumed_messages_total",
          "Messages deleted that a group had not consumed, once for each group")),
      forced_messages_(
          parts.metrics.counter("gantry_retention_forced_messages_total",
                                "Messages deleted before their time for want of room")),
      topics_(parts),
      shrinker_(parts.files, options_.shrink_bytes) {
    const auto gauge = [&](const char* name, const char* help, auto number) {
        parts.metrics.gauge(name, help, [number] { return static_cast<double>(number->load()); });
    };
    gauge("gantry_store_room_taken_percent",
          "Share of the room for the log that is taken, on the volume with the most left",
          percent_taken_);
    gauge("gantry_store_room_alarm", "1 while the log is about to run out of room", is_alarmed_);
    gauge("gantry_retention_clock_lag_milliseconds",
          "How far the clock by which messages expire is behind a wall clock that jumped ahead",
          clock_lag_ms_);
}

Retention::~Retention() {
    stop();
}

void Retention::start() {
    {
        const MutexLock round(round_mutex_);
        clock_ = load_retention_clock(parts_.files,
                                      parts_.path("retention-clock"),
                                      parts_.clock.wall_ms(),
                                      options_.clock_slack_ms);
        looked_ = parts_.clock.steady();
        save_clock();
        static_cast<void>(look_at_room());
    }
    thread_ = std::thread([this] {
        set_thread_name("retain");
        work();
    });
}

void Retention::stop() {
    {
        const MutexLock lock(mutex_);
        if (std::exchange(is_stopping_, true)) {
            return;
        }
        woken_.notify_all();
    }
    if (thread_.joinable()) {
        thread_.join();
        const MutexLock round(round_mutex_);
        advance_clock();
        save_clock();
    }
}

bool Retention::wait(std::chrono::milliseconds longest) {
    const auto deadline = std::chrono::steady_clock::now() + longest;
    MutexLock lock(mutex_);
    while (!is_stopping_ && lock.wait_until(woken_, deadline)) {
    }
    return !is_stopping_;
}

void Retention::work() {
    const std::chrono::milliseconds interval(options_.check_ms);
    SteadyTime round_at = parts_.clock.steady() + interval;
    SteadyTime room_at = parts_.clock.steady() + kRoomInterval;
    bool is_shrinking = false;
    while (wait(is_shrinking ? std::chrono::milliseconds(options_.shrink_pause_ms)
                             : std::min(interval, kRoomInterval))) {
        const MutexLock round_lock(round_mutex_);
        const SteadyTime now = parts_.clock.steady();
        Status done = ok();
        if (now >= round_at) {
            done = round();
            round_at = parts_.clock.steady() + interval;
        } else if (now >= room_at) {
            done = look_at_room();
            room_at = parts_.clock.steady() + kRoomInterval;
        }
        if (!done) {
            kLog.warn("retention failed, it is tried again", {{"reason", done.error()}});
        }
        is_shrinking = shrinker_.step();
        if (is_shrinking && parts_.log->lacks_room()) {
            parts_.log->room_was_made();
        }
    }
}

Status Retention::run() {
    const MutexLock round_lock(round_mutex_);
    GANTRY_TRY(round());
    shrink_all();
    return ok();
}

void Retention::shrink_all() {
    bool has_shrunk = false;
    while (shrinker_.step()) {
        has_shrunk = true;
    }
    if (has_shrunk && parts_.log->lacks_room()) {
        parts_.log->room_was_made();
    }
}

RetentionStatus Retention::status() const {
    RetentionStatus status;
    status.percent_taken = percent_taken_->load();
    status.deleted_segments = deleted_segments_.value();
    status.deleted_bytes = deleted_bytes_.value();
    const MutexLock lock(mutex_);
    status.alarm = alarm_;
    status.unconsumed = unconsumed_;
    return status;
}

WallMs Retention::advance_clock() {
    const WallMs wall = parts_.clock.wall_ms();
    const SteadyTime now = parts_.clock.steady();
    const WallMs believed =
        clock_->advance(wall, std::chrono::duration_cast<std::chrono::milliseconds>(now - looked_));
    looked_ = now;
    clock_lag_ms_->store(wall - believed);
    const bool is_ahead = wall - believed > kClockLagTold;
    if (is_ahead && !is_clock_ahead_) {
        kLog.warn("the wall clock jumped ahead: messages expire by a slower one",
                  {{"wall_ms", wall}, {"believed_ms", believed}});
    }
    is_clock_ahead_ = is_ahead;
    if (now >= clock_saved_ + kClockSaveInterval) {
        save_clock();
    }
    return believed;
}

void Retention::save_clock() {
    clock_saved_ = parts_.clock.steady();
    // Without it the next start believes the wall clock.
    const Status saved =
        save_retention_clock(parts_.files, parts_.path("retention-clock"), clock_->now());
    if (!saved) {
        kLog.warn("the retention clock cannot be saved", {{"reason", saved.error()}});
    }
}

Status Retention::round() {
    const WallMs now = advance_clock();
    CommitLog& log = *parts_.log;
    const TopicRetentions::Applied applied = topics_.apply(now);
    count_unconsumed(applied.moved, false);
    const LogOffset limit = std::min(applied.needed, log.deletable_end());
    LogOffset end = expired_by_default(now);
    if (!topics_.is_empty() && end < limit) {
        // Log that only topics with rules of their own had messages in.
        end = std::max(end, needed_by_others(end));
    }
    end = log.segment_start(std::min(end, limit));
    if (end > log.first() || log.has_undetached()) {
        GANTRY_TRY(delete_before(std::max(end, log.first()), false));
    }
    return look_at_room();
}

/// When the record at `at` was stored; 0 when it is damaged: its bytes may say any time.
WallMs Retention::stored_ms_of(LogOffset at) const {
    const Result<std::string> bytes = parts_.record_at(at);
    if (!bytes) {
        return 0;
    }
    const Result<wire::Record> record = wire::parse_record(as_bytes(*bytes));
    return record ? record->store_ms : 0;
}

LogOffset Retention::expired_by_default(WallMs now) {
    std::vector<SegmentAge> ages;
    const LogOffset appended = parts_.log->appended();
    const auto list = parts_.log->segments().snapshot();
    for (const SegmentPtr& segment : *list) {
        WallMs& first_ms = first_ms_[segment->base()];
        if (first_ms <= 0 && segment->base() < appended) {
            first_ms = stored_ms_of(segment->base());
        }
        ages.push_back({segment->base(), segment->end(), first_ms});
    }
    if (!ages.empty()) {
        first_ms_.erase(first_ms_.begin(), first_ms_.lower_bound(ages.front().base));
    }
    return expired_end(ages, options_, now);
}

/// The lowest log offset that a queue without rules of its own has a message at; less exact where
/// that is not above the segment at `at_least`.
LogOffset Retention::needed_by_others(LogOffset at_least) {
    const SegmentPtr segment = parts_.log->segments().find(at_least);
    const LogOffset enough = segment != nullptr ? segment->end() : at_least;
    LogOffset lowest(INT64_MAX);
    std::string blocker;
    const auto look =
        [&](std::string_view topic, std::int32_t, const QueueIndex& queue)
            GANTRY_REQUIRES(round_mutex_) {
                if (topic == kStateTopic || topics_.has(topic) || queue.min() == queue.max()) {
                    return;
                }
                // Where nothing can be known, everything is needed.
                const auto unit = queue.unit_at(queue.min());
                const LogOffset needed = unit ? unit->at : at_least;
                if (needed < lowest) {
                    lowest = needed;
                    blocker = topic;
                }
            };
    // Mostly it is the same topic as at the last look.
    if (const Topic* const topic = parts_.topics->find(blocker_)) {
        for (std::int32_t id = 0; id < std::max(topic->read_queues(), topic->write_queues());
             ++id) {
            if (const QueueIndex* const queue = parts_.queues->find(blocker_, id)) {
                look(blocker_, id, *queue);
            }
        }
    }
    if (lowest >= enough) {
        parts_.queues->for_each(look);
    }
    blocker_ = std::move(blocker);
    return lowest;
}

Status Retention::delete_before(LogOffset end, bool is_forced) {
    CommitLog& log = *parts_.log;
    const LogOffset from = log.first();
    log.advance_first(end);
    count_unconsumed(parts_.queues->advance_min(end), is_forced);
    GANTRY_TRY(parts_.checkpointer->reach(end));
    GANTRY_TRY(parts_.keys->remove_before(end));
    GANTRY_TRY(parts_.lost->forget_before(end));
    GANTRY_ASSIGN_OR_RETURN(std::vector<DeletedFile> files, log.detach_deleted());
    for (DeletedFile& file : files) {
        deleted_segments_.add();
        deleted_bytes_.add(file.bytes);
        kLog.info("segment deleted",
                  {{"file", file.path.string()}, {"bytes", file.bytes}, {"forced", is_forced}});
        shrinker_.add(std::move(file));
    }
    kLog.info("log starts later", {{"from", from.value}, {"to", end.value}});
    return ok();
}

Status Retention::look_at_room() {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<VolumeRoom> volumes, parts_.log->volumes());
    const VolumeLimits limits = parts_.log->volume_limits();
    const VolumeRoom& best = roomiest(volumes, limits);
    const std::uint32_t percent = percent_taken(best, limits);
    percent_taken_->store(percent);
    set_alarm(best, percent);
    if (!parts_.log->lacks_room()) {
        full_looks_ = 0;
        return ok();
    }
    return options_.force ? make_room(room_left(best, limits)) : ok();
}

void Retention::set_alarm(const VolumeRoom& best, std::uint32_t percent) {
    const std::uint64_t left = room_left(best, parts_.log->volume_limits());
    std::string alarm;
    if (percent >= options_.alarm_percent || left < parts_.options.segment_bytes) {
        alarm = best.directory.string() + " has room for " + std::to_string(left) +
                " B more of the log, which takes " + std::to_string(best.log_bytes) +
                " B there; without room " +
                (options_.force ? "the oldest messages go" : "sends are refused");
    }
    if (is_alarmed_->exchange(!alarm.empty()) == alarm.empty()) {
        if (alarm.empty()) {
            kLog.info("there is room for the log again", {{"percent_taken", percent}});
        } else {
            kLog.warn("the log is about to run out of room",
                      {{"percent_taken", percent}, {"what", alarm}});
        }
    }
    const MutexLock lock(mutex_);
    alarm_ = std::move(alarm);
}

/// Messages that nobody said may go, rather than no more messages: the operator chose that.
Status Retention::make_room(std::uint64_t left) {
    shrink_all();
    ++full_looks_;
    if (left + shrinker_.bytes() >= parts_.options.segment_bytes && full_looks_ < kFullLooksMax) {
        return ok();
    }
    full_looks_ = 0;
    const auto list = parts_.log->segments().snapshot();
    const LogOffset end = list->empty() ? LogOffset(0) : list->front()->end();
    if (list->empty() || end > parts_.log->deletable_end()) {
        return ok();
    }
    GANTRY_TRY(delete_before(end, true));
    shrink_all();
    return ok();
}

void Retention::count_unconsumed(const std::vector<ConsumeQueues::Moved>& moved, bool is_forced) {
    std::map<std::string, std::map<std::int32_t, const ConsumeQueues::Moved*>> topics;
    for (const ConsumeQueues::Moved& queue : moved) {
        topics[queue.topic][queue.queue_id] = &queue;
        if (is_forced && queue.topic != kStateTopic) {
            forced_messages_.add(static_cast<std::uint64_t>(queue.to - queue.from));
        }
    }
    for (const auto& [topic, queues] : topics) {
        if (topic == kStateTopic) {
            continue;
        }
        if (is_forced) {
            kLog.error("messages deleted before their time for want of room",
                       {{"topic", topic}, {"offsets", ranges_text(moved, topic)}});
        }
        std::map<std::string, std::map<std::int32_t, std::int64_t>> groups;
        for (const wire::OffsetPut& put : parts_.state->offsets_of_topic(topic)) {
            groups[put.group()][put.queueid()] = put.offset();
        }
        for (const auto& [group, offsets] : groups) {
            std::int64_t lost = 0;
            for (const auto& [id, queue] : queues) {
                const auto found = offsets.find(id);
                const std::int64_t committed = found != offsets.end() ? found->second : 0;
                lost += std::max<std::int64_t>(
                    0, queue->to.value - std::max(queue->from.value, committed));
            }
            if (lost > 0) {
                tell_unconsumed(topic, group, static_cast<std::uint64_t>(lost));
            }
        }
    }
}

void Retention::tell_unconsumed(const std::string& topic,
                                const std::string& group,
                                std::uint64_t messages) {
    kLog.warn("messages deleted that a group had not consumed",
              {{"topic", topic}, {"group", group}, {"messages", messages}});
    deleted_unconsumed_.add(messages);
    parts_.metrics
        .counter(
            "gantry_retention_group_deleted_unconsumed_messages_total{group=\"" + group + "\"}",
            "Messages deleted that the group had not consumed")
        .add(messages);
    const MutexLock lock(mutex_);
    unconsumed_[group] += messages;
}

}  // namespace gantry::storage
