// SPDX-License-Identifier: Apache-2.0
#include "storage/store.h"

#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "storage/check/closed_store.h"
#include "storage/cold/store_cold_source.h"
#include "storage/pop/pops.h"
#include "storage/recovery.h"
#include "storage/repair/mender.h"
#include "storage/repair/unfolded.h"
#include "storage/replica/replica_log.h"
#include "storage/scrub/scrubber.h"
#include "storage/state_snapshot.h"
#include "storage/store_parts.h"
#include "storage/timers/timers.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

Status check_options(const StoreOptions& options) {
    constexpr std::uint64_t kSegmentBytesMin = 4'096;
    constexpr std::uint64_t kSegmentBytesMax = std::uint64_t{1} << 30U;
    if (options.segment_bytes < kSegmentBytesMin || options.segment_bytes > kSegmentBytesMax) {
        return Error{Errc::kRefused,
                     "store.segment_bytes " + std::to_string(options.segment_bytes) +
                         " is outside [" + std::to_string(kSegmentBytesMin) + ", " +
                         std::to_string(kSegmentBytesMax) + "]"};
    }
    return ok();
}

Status make_marker(FileSystem& files, const std::filesystem::path& path) {
    GANTRY_ASSIGN_OR_RETURN(const auto file, files.open(path, FileSystem::Open::kCreate));
    return files.sync_directory(path.parent_path());
}

}  // namespace

Store::Parts::Parts(FileSystem& file_system,
                    Clock& wall,
                    MetricRegistry& registry,
                    const StoreOptions& store_options)
    : files(file_system),
      clock(wall),
      metrics(registry),
      options(store_options),
      appended_messages(
          registry.counter("gantry_store_appended_messages_total", "Messages appended to the log")),
      appended_bytes(
          registry.counter("gantry_store_appended_bytes_total", "Bytes appended to the log")) {}

Store::Parts::~Parts() = default;

Status Store::Parts::open(RecoveryReport& report) {
    GANTRY_TRY(check_options(options));
    GANTRY_TRY(make_directory(files, options.directory));
    GANTRY_ASSIGN_OR_RETURN(lock, files.lock(path("lock")));
    const bool is_clean = !files.exists(path("abort"));
    GANTRY_TRY(make_marker(files, path("abort")));
    GANTRY_FAILPOINT_TRY("open.marked");
    GANTRY_TRY(open_lost());
    GANTRY_ASSIGN_OR_RETURN(log, CommitLog::open(files, clock, metrics, options));
    GANTRY_FAILPOINT_TRY("open.log");
    GANTRY_TRY(fold_mended(files, options.directory, *lost, log->first()));
    GANTRY_TRY(recover(*this, is_clean, report));
    GANTRY_TRY(note_unfolded(files, options.directory, *lost, report.state_from));
    mender = std::make_unique<Mender>(*this);
    state->set_append([this](const std::string& body) -> Result<Appended> {
        Queue* const queue = topics->find(kStateTopic)->queue(0);
        wire::Record record;
        record.born_ms = clock.wall_ms();
        record.born_host = options.store_host;
        record.body = as_bytes(body);
        return append_messages(*queue, {&record, 1});
    });
    transactions =
        std::make_unique<Transactions>(*state, [this](Queue& queue, const wire::Record& record) {
            return append_messages(queue, {&record, 1});
        });
    pops = std::make_unique<Pops>(*state);
    timers = std::make_unique<Timers>(*this);
    replica = std::make_unique<ReplicaLog>(*this);
    GANTRY_TRY(replica->open());
    log->on_progress([this] {
        checkpointer->flushed(log->flushed());
        std::function<void()> report_to;
        {
            const MutexLock guard(progress_mutex);
            report_to = on_progress;
        }
        if (report_to) {
            report_to();
        }
    });
    checkpointer = std::make_unique<Checkpointer>(*this);
    // Later, where nobody has confirmed yet what there is.
    if (!files.exists(path("checkpoint")) && confirmed() == log->appended()) {
        GANTRY_TRY(checkpointer->write());
    }
    checkpointer->start(log->flushed());
    retention = std::make_unique<Retention>(*this);
    retention->start();
    scrubber = std::make_unique<Scrubber>(*this, options.scrub);
    scrubber->start();
    GANTRY_FAILPOINT_TRY("open.done");
    return ok();
}

/// Without its list of lost ranges the log has to be looked at from its first record on.
Status Store::Parts::open_lost() {
    GANTRY_ASSIGN_OR_RETURN(LostRanges::Opened opened, LostRanges::open(files, path("lost")));
    lost = std::move(opened.ranges);
    lost->register_metrics(metrics);
    if (opened.damage.empty()) {
        return ok();
    }
    kLog.error("the list of lost ranges is damaged: the log is walked from its first record",
               {{"reason", opened.damage}});
    if (files.exists(path("checkpoint"))) {
        GANTRY_TRY(files.remove(path("checkpoint")));
        GANTRY_TRY(files.sync_directory(options.directory));
    }
    GANTRY_TRY(files.remove(path("lost")));
    return files.sync_directory(options.directory);
}

Status Store::Parts::close() {
    if (std::exchange(is_closed, true) || checkpointer == nullptr) {
        return ok();
    }
    if (cold) {
        cold->stop();
    }
    if (retention != nullptr) {
        retention->stop();
    }
    if (scrubber) {
        scrubber->stop();
    }
    mender->stop();
    checkpointer->stop();
    const Status dropped = replica->close();
    GANTRY_TRY(log->close());
    GANTRY_TRY(dropped);
    GANTRY_FAILPOINT_TRY("close.log");
    return close_cleanly();
}

Status Store::Parts::close_cleanly() {
    if (confirmed() < log->appended()) {
        kLog.info("stopped before other copies had all: the next start walks the end of the log",
                  {{"confirmed", confirmed().value}, {"end", log->appended().value}});
        return ok();
    }
    GANTRY_TRY(checkpointer->write());
    GANTRY_FAILPOINT_TRY("close.checkpointed");
    GANTRY_TRY(files.remove(path("abort")));
    GANTRY_FAILPOINT_TRY("close.unmarked");
    return files.sync_directory(options.directory);
}

Result<Store::Opened> Store::open(FileSystem& files,
                                  Clock& clock,
                                  MetricRegistry& metrics,
                                  const StoreOptions& options) {
    const SteadyTime begin = clock.steady();
    auto parts = std::make_unique<Parts>(files, clock, metrics, options);
    RecoveryReport report;
    GANTRY_TRY(parts->open(report));
    report.milliseconds = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(clock.steady() - begin).count());
    kLog.info("store opened",
              {{"directory", options.directory.string()},
               {"clean", report.was_clean},
               {"end", parts->log->appended().value},
               {"replayed", report.records_replayed},
               {"cut_bytes", report.bytes_cut},
               {"cut_at", report.cut_at.value},
               {"lost_ranges", report.lost_ranges},
               {"lost_messages", report.lost_messages},
               {"ms", report.milliseconds},
               {"note", report.note}});
    return Opened{std::unique_ptr<Store>(new Store(std::move(parts))), std::move(report)};
}

Store::Store(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {
    parts_->cold_source = std::make_unique<StoreColdSource>(*this, *parts_);
    parts_->cold = std::make_unique<ColdReader>(
        *parts_->cold_source, parts_->clock, parts_->metrics, parts_->options.cold);
    parts_->cold->start();
}

Store::~Store() {
    if (const Status closed = close(); !closed) {
        kLog.error("store did not close cleanly", {{"reason", closed.error()}});
    }
}

Status Store::close() {
    return parts_->close();
}

Result<ScrubReport> Store::scrub() {
    return parts_->scrubber->run();
}

void Store::repair_from(std::shared_ptr<ReplicaSource> source) {
    parts_->mender->set_source(std::move(source));
}

Result<MendReport> Store::repair() {
    return parts_->mender->run();
}

Topic* Store::find_topic(std::string_view name) const {
    return parts_->topics->find(name);
}

std::vector<Topic*> Store::topics() const {
    return parts_->topics->all();
}

void Store::flush_soon() {
    parts_->log->flush_soon();
}

Watermarks Store::watermarks() const noexcept {
    return parts_->log->watermarks();
}

Result<bool> Store::wait_local(LogOffset to, SteadyTime deadline) const {
    if (flush_mode() == FlushMode::kAsync) {
        return watermarks().appended >= to;
    }
    return parts_->log->wait_flushed_until(to, deadline);
}

FlushMode Store::flush_mode() const noexcept {
    return parts_->options.flush;
}

std::string Store::read_only_reason() const {
    return parts_->log->read_only_reason();
}

void Store::on_progress(std::function<void()> on_progress) {
    const MutexLock lock(parts_->progress_mutex);
    parts_->on_progress = std::move(on_progress);
}

ReplicaLog& Store::replica() noexcept {
    return *parts_->replica;
}

StateMachine& Store::state() noexcept {
    return *parts_->state;
}

Transactions& Store::transactions() noexcept {
    return *parts_->transactions;
}

std::size_t Store::numbered_queues() const noexcept {
    return parts_->state->producers().size();
}

Pops& Store::pops() noexcept {
    return *parts_->pops;
}

Timers& Store::timers() noexcept {
    return *parts_->timers;
}

void Checkpointer::set_due(LogOffset last) {
    const auto bytes = static_cast<std::int64_t>(parts_.options.checkpoint_bytes);
    due_ = last + bytes;
    late_ = due_ + std::min(bytes, std::int64_t{1} << 60U) * (kLateFactor - 1);
}

Status Store::delete_expired() {
    return parts_->retention->run();
}

RetentionStatus Store::retention_status() const {
    return parts_->retention->status();
}

void Checkpointer::start(LogOffset last) {
    {
        const MutexLock writing(write_mutex_);
        const auto stored = load_checkpoint(parts_.files, parts_.path("checkpoint"));
        newest_ = stored && *stored ? (*stored)->at : newest_;
    }
    {
        const MutexLock lock(mutex_);
        set_due(last);
    }
    thread_ = std::thread([this] {
        set_thread_name("checkpoint");
        run();
    });
}

void Checkpointer::flushed(LogOffset at) {
    const MutexLock lock(mutex_);
    const bool is_rested = at >= late_ || parts_.clock.steady() >= rest_until_;
    if (at >= due_ && is_rested && !is_due_) {
        is_due_ = true;
        woken_.notify_one();
    }
}

void Checkpointer::stop() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        woken_.notify_one();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
}

void Checkpointer::run() {
    for (;;) {
        {
            MutexLock lock(mutex_);
            while (!is_due_ && !is_stopping_) {
                lock.wait(woken_);
            }
            if (is_stopping_) {
                return;
            }
            is_due_ = false;
            set_due(parts_.log->flushed());
        }
        const SteadyTime begin = parts_.clock.steady();
        // A checkpoint that fails costs start-up time, not data: the next one is tried as usual.
        if (const Status written = write(); !written) {
            kLog.warn("checkpoint failed", {{"reason", written.error()}});
        }
        const SteadyTime end = parts_.clock.steady();
        const MutexLock lock(mutex_);
        rest_until_ = end + kRestPart * (end - begin);
    }
}

Status Checkpointer::reach(LogOffset at) {
    for (int i = 0; i < 2; ++i) {
        {
            const MutexLock lock(write_mutex_);
            if (older_ >= at) {
                return ok();
            }
        }
        GANTRY_TRY(write());
    }
    return ok();
}

/// Whether waiting may go on; false when the store closes.
bool Checkpointer::may_wait() {
    constexpr std::chrono::milliseconds kLook{5};
    MutexLock lock(mutex_);
    if (!is_stopping_) {
        lock.wait_until(woken_, std::chrono::steady_clock::now() + kLook);
    }
    return !is_stopping_;
}

Status Checkpointer::wait_safe(LogOffset end) {
    CommitLog& log = *parts_.log;
    const auto deadline = std::chrono::steady_clock::now() + kConfirmWaitMax;
    const auto wait = [&](const auto& is_there) {
        while (!is_there() && !parts_.replica->is_broken() &&
               std::chrono::steady_clock::now() < deadline && may_wait()) {
        }
        return is_there() && !parts_.replica->is_broken();
    };
    if (wait([&] { return log.appended() >= end; }) && log.flushed() < end) {
        GANTRY_TRY(log.wait_flushed(end));
    }
    if (!wait([&] { return log.watermarks().confirmed >= end; })) {
        return Error{Errc::kBusy,
                     "the log is confirmed up to " +
                         std::to_string(log.watermarks().confirmed.value) + ", not to " +
                         std::to_string(end.value)};
    }
    return ok();
}

Status Checkpointer::write() {
    const MutexLock writing(write_mutex_);
    GANTRY_FAILPOINT_TRY("checkpoint.begin");
    const auto published = [this] { return parts_.replica->placed_end(); };
    LogOffset from;
    const wire::StateSnapshot snapshot =
        parts_.state->snapshot([&] { return from = parts_.log->appended(); });
    const auto sync_log = [this](LogOffset end) { return wait_safe(end); };
    GANTRY_TRY(parts_.queues->flush(published, sync_log));
    GANTRY_FAILPOINT_TRY("checkpoint.queues");
    GANTRY_TRY(parts_.keys->flush());
    GANTRY_FAILPOINT_TRY("checkpoint.keys");
    // The log of a planted store does not reach yet what its state was known as of.
    GANTRY_TRY(sync_log(std::min(durable_end(snapshot), parts_.log->appended())));
    GANTRY_FAILPOINT_TRY("checkpoint.log");
    GANTRY_TRY(save_snapshot(parts_.files, parts_.path("state"), snapshot));
    GANTRY_FAILPOINT_TRY("checkpoint.state");
    GANTRY_TRY(save_checkpoint(parts_.files, parts_.path("checkpoint"), {from}));
    older_ = std::exchange(newest_, from);
    GANTRY_FAILPOINT("checkpoint.done");
    return ok();
}

}  // namespace gantry::storage
