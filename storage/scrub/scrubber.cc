// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/scrubber.h"

#include "common/log.h"
#include "storage/damage/lost_messages.h"
#include "storage/scrub/scrub_mark.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

/// Between two rounds at least, whatever the interval.
constexpr std::chrono::seconds kPauseMin{1};

/// After a round that an error has ended.
constexpr std::chrono::minutes kRetryPause{1};

/// The position is written that often at most: it is a sync each.
constexpr std::chrono::seconds kSaveInterval{30};

/// Lines a round about units.
constexpr std::uint64_t kLinesMax = 100;

std::int64_t milliseconds(SteadyTime::duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

Scrubber::Scrubber(Store::Parts& parts, const ScrubOptions& options)
    : parts_(parts),
      options_(options),
      bytes_(parts.metrics.counter("gantry_store_scrubbed_bytes_total",
                                   "Bytes of the log that the scrubber has read")),
      rounds_(parts.metrics.counter("gantry_store_scrub_rounds_total",
                                    "Whole rounds of the scrubber over the log")),
      findings_(parts.metrics.counter("gantry_store_scrub_findings_total",
                                      "What the scrubber has found wrong")),
      damage_(parts.metrics.counter("gantry_store_scrub_findings_damage_total",
                                    "Pieces of the log that it has found damaged")),
      read_errors_(parts.metrics.counter("gantry_store_scrub_findings_read_error_total",
                                         "Pieces of the log that the disk did not give it")),
      wrong_units_(parts.metrics.counter("gantry_store_scrub_findings_index_total",
                                         "Units of consume queues that contradict the log")),
      mended_units_(parts.metrics.counter("gantry_store_scrub_mended_units_total",
                                          "Of them: units that it has written again")),
      units_(parts) {
    bucket_.set_rate(options_.bytes_per_second);
    register_metrics();
}

Scrubber::~Scrubber() {
    stop();
}

void Scrubber::register_metrics() {
    parts_.metrics.gauge(
        "gantry_store_scrub_position",
        "Log offset up to which the scrubber is in its round",
        [levels = levels_] { return static_cast<double>(levels->position.load()); });
    parts_.metrics.gauge("gantry_store_scrub_last_round_seconds",
                         "When its last whole round ended, seconds since 1970; 0: never",
                         [levels = levels_] {
                             constexpr double kMillisecondsPerSecond = 1'000;
                             return static_cast<double>(levels->done_ms.load()) /
                                    kMillisecondsPerSecond;
                         });
}

void Scrubber::start() {
    if (options_.bytes_per_second == 0) {
        return;
    }
    {
        const MutexLock lock(round_mutex_);
        resume();
    }
    thread_ = std::thread([this] {
        set_thread_name("scrub");
        work();
    });
}

void Scrubber::stop() {
    {
        const MutexLock lock(mutex_);
        if (is_stopping_.exchange(true)) {
            return;
        }
        woken_.notify_all();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
    const MutexLock lock(round_mutex_);
    if (round_) {
        save_mark();
    }
    segment_.reset();
}

void Scrubber::work() {
    while (!is_stopping_.load()) {
        const SteadyTime next = step(parts_.clock.steady());
        MutexLock lock(mutex_);
        while (!is_stopping_.load() && parts_.clock.steady() < next) {
            lock.wait_until(woken_, next);
        }
    }
}

SteadyTime Scrubber::step(SteadyTime now) {
    const MutexLock lock(round_mutex_);
    if (!round_) {
        if (now < due_) {
            return due_;
        }
        position_ = LogOffset(0);
        begin_round(now);
    }
    if (!bucket_.is_open(now)) {
        return bucket_.opens_at(now);
    }
    const Result<std::uint64_t> read = advance(now);
    if (!read) {
        kLog.warn("a round of the scrubber ended early", {{"reason", read.error()}});
        segment_.reset();
        round_.reset();
        due_ = now + kRetryPause;
        return due_;
    }
    bucket_.take(*read, now);
    return round_ ? bucket_.opens_at(now) : due_;
}

Result<ScrubReport> Scrubber::run() {
    const MutexLock lock(round_mutex_);
    segment_.reset();
    position_ = LogOffset(0);
    begin_round(parts_.clock.steady());
    while (round_) {
        if (is_stopping_.load()) {
            return Error{Errc::kClosed, "the store is closing"};
        }
        if (const Result<std::uint64_t> read = advance(parts_.clock.steady()); !read) {
            segment_.reset();
            round_.reset();
            return read.error();
        }
    }
    return last_;
}

void Scrubber::resume() {
    const std::optional<ScrubMark> mark = load_scrub_mark(parts_.files, parts_.path("scrub"));
    if (!mark) {
        return;
    }
    levels_->done_ms.store(mark->done_ms);
    const SteadyTime now = parts_.clock.steady();
    const WallMs wall = parts_.clock.wall_ms();
    if (mark->segment >= mark->end) {
        const std::int64_t left = mark->begun_ms + options_.interval.count() - wall;
        due_ = now + std::chrono::milliseconds(
                         std::clamp<std::int64_t>(left, 0, options_.interval.count()));
        return;
    }
    position_ = mark->segment;
    begin_round(now);
    round_->begun_ms = std::min(mark->begun_ms, wall);
}

void Scrubber::begin_round(SteadyTime now) {
    position_ = std::max(position_, parts_.log->first());
    round_ = Round{{}, now, parts_.clock.wall_ms()};
    round_->report.from = position_;
    round_->report.to = std::max(position_, parts_.log->flushed());
    units_.begin_round();
}

void Scrubber::end_round(SteadyTime now) {
    last_ = round_->report;
    rounds_.add();
    levels_->done_ms.store(parts_.clock.wall_ms());
    position_ = last_.to;
    levels_->position.store(position_.value);
    save_mark();
    kLog.info("log scrubbed",
              {{"from", last_.from.value},
               {"to", last_.to.value},
               {"bytes", last_.bytes},
               {"records", last_.records},
               {"blocks", last_.blocks},
               {"units", last_.units},
               {"damage", last_.damage},
               {"wrong_units", last_.wrong_units},
               {"mended_units", last_.mended_units},
               {"ms", milliseconds(now - round_->begun)}});
    if (last_.wrong_units > last_.mended_units) {
        kLog.error(
            "consume queues contradict the log: with this folder deleted, the next start "
            "rebuilds them",
            {{"folder", parts_.path("consumequeue").string()},
             {"units", last_.wrong_units - last_.mended_units}});
    }
    // A round that was begun before a restart counts from there.
    const auto since = std::chrono::milliseconds(parts_.clock.wall_ms() - round_->begun_ms);
    due_ = now + std::clamp<SteadyTime::duration>(
                     options_.interval - since,
                     kPauseMin,
                     std::max<SteadyTime::duration>(kPauseMin, options_.interval));
    round_.reset();
}

/// Reads and checks one piece; returns its bytes. Without anything left the round ends.
Result<std::uint64_t> Scrubber::advance(SteadyTime now) {
    if (segment_ && segment_->segment().end() <= parts_.log->first()) {
        segment_.reset();  // deleted meanwhile
    }
    if (!segment_) {
        const SegmentPtr next = next_segment();
        if (next == nullptr) {
            end_round(now);
            return std::uint64_t{0};
        }
        // The mapping is not kept by what takes days.
        segment_.emplace(parts_, units_, next->unmapped(), round_->report.to);
        position_ = next->base();
        if (now >= saved_ + kSaveInterval) {
            saved_ = now;
            save_mark();
        }
    }
    ScrubTally tally;
    GANTRY_TRY(segment_->step(tally));
    account(tally);
    levels_->position.store(segment_->position().value);
    if (segment_->is_done()) {
        position_ = std::min(segment_->segment().end(), round_->report.to);
        segment_.reset();
    }
    return tally.bytes;
}

SegmentPtr Scrubber::next_segment() const {
    const LogOffset from = std::max(position_, parts_.log->first());
    const auto list = parts_.log->segments().snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->end() > from) {
            return segment->base() < round_->report.to && from < round_->report.to ? segment
                                                                                   : nullptr;
        }
    }
    return nullptr;
}

void Scrubber::account(const ScrubTally& tally) {
    ScrubReport& report = round_->report;
    bytes_.add(tally.bytes);
    report.bytes += tally.bytes;
    report.records += tally.records;
    report.blocks += tally.blocks;
    report.units += tally.units;
    report.rereads += tally.rereads;
    for (const ScrubDamage& damage : tally.damage) {
        take_damage(damage);
    }
    for (const WrongUnit& unit : tally.wrong_units) {
        take_wrong_unit(unit);
    }
}

void Scrubber::take_damage(const ScrubDamage& damage) {
    if (damage.to <= parts_.log->first()) {
        return;  // deleted meanwhile
    }
    findings_.add();
    (damage.is_read_error ? read_errors_ : damage_).add();
    ++round_->report.damage;
    round_->report.read_errors += damage.is_read_error ? 1 : 0;
    if (parts_.options.on_damage == OnDamage::kRefuse) {
        tell_only(damage);
        return;
    }
    parts_.damage_found(damage.from, damage.to, damage.why);
    if (const LogOffset first = parts_.log->first(); damage.to <= first) {
        const Status forgotten = parts_.lost->forget_before(first);
        if (!forgotten) {
            kLog.warn("the list of lost ranges cannot be written", {{"reason", forgotten.error()}});
        }
    }
}

void Scrubber::tell_only(const ScrubDamage& damage) const {
    LostRangeList ranges{{damage.from, damage.to, parts_.clock.wall_ms(), 0, damage.why}};
    const std::vector<LostMessages> messages = find_lost_messages(*parts_.queues, ranges);
    tell_damaged("by the scrubber", ranges, messages);
    kLog.error("damage is not quarantined", {{"reason", "store.on_damage is refuse"}});
}

void Scrubber::take_wrong_unit(const WrongUnit& unit) {
    if (unit.at < parts_.log->first()) {
        return;  // deleted meanwhile
    }
    findings_.add();
    wrong_units_.add();
    ++round_->report.wrong_units;
    if (unit.is_mended) {
        mended_units_.add();
        ++round_->report.mended_units;
    }
    if (round_->report.wrong_units <= kLinesMax) {
        kLog.error("a consume queue contradicts the log",
                   {{"message", unit.message},
                    {"log_offset", unit.at.value},
                    {"reason", unit.what},
                    {"mended", unit.is_mended}});
    }
}

void Scrubber::save_mark() {
    ScrubMark mark;
    mark.begun_ms = round_->begun_ms;
    mark.done_ms = levels_->done_ms.load();
    mark.segment = segment_ ? segment_->segment().base() : position_;
    mark.end = round_->report.to;
    // Without it the next process begins a round: no harm.
    const Status saved = save_scrub_mark(parts_.files, parts_.path("scrub"), mark);
    if (!saved) {
        kLog.warn("the position of the scrubber cannot be kept", {{"reason", saved.error()}});
    }
}

}  // namespace gantry::storage
