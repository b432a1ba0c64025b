// SPDX-License-Identifier: Apache-2.0
#include "storage/import/rocketmq_import.h"

#include "common/metrics.h"
#include "storage/import/import_mark.h"
#include "storage/store.h"

#include <algorithm>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDamageNamed = 20;
constexpr int kChangesPerRecord = 500;
constexpr std::int64_t kHourMs = 3'600'000;

/// What a broker keeps unless it is told otherwise: retention.hours.
constexpr std::int64_t kHoursKept = 72;

/// A broker with default settings would soon delete what came over.
std::optional<ImportNote> retention_note(WallMs oldest, WallMs now) {
    const std::int64_t hours = (now - oldest) / kHourMs;
    if (oldest <= 0 || hours < kHoursKept) {
        return std::nullopt;
    }
    return ImportNote{"age in hours of the oldest message",
                      static_cast<std::uint64_t>(hours),
                      "a broker deletes what is older than retention.hours (" +
                          std::to_string(kHoursKept) + " unless set): set it before the start"};
}

class Import {
public:
    Import(FileSystem& files, Clock& clock, const ImportOptions& options)
        : files_(files), clock_(clock), options_(options), work_(options.directory) {
        work_ += ".importing";
    }

    Result<ImportReport> run();

private:
    Status check_target();
    Status check_damage() const;
    Status check_space() const;
    Status fill();
    Result<Store::Opened> open_store(MetricRegistry& metrics);
    Status commit(Store& store);
    Status verify();
    Status publish();
    Status clear_work();

    FileSystem& files_;
    Clock& clock_;
    const ImportOptions& options_;
    fs::path work_;
    std::unique_ptr<File> lock_;
    ImportSource source_;
    ImportReport report_;
};

fs::path parent_of(const fs::path& path) {
    const fs::path parent = path.parent_path();
    return parent.empty() ? fs::path(".") : parent;
}

Status Import::check_target() {
    std::error_code failed;
    if (files_.exists(options_.directory) && !fs::is_empty(options_.directory, failed)) {
        return Error{
            Errc::kRefused,
            "--to " + options_.directory.string() + " is not empty: an import makes a new store"};
    }
    if (!files_.exists(parent_of(work_))) {
        return Error{Errc::kNotFound, parent_of(work_).string() + " does not exist"};
    }
    return ok();
}

Status Import::check_damage() const {
    const std::vector<ScannedDamage>& damage = source_.log.damage;
    if (damage.empty()) {
        return ok();
    }
    std::string text = "the log of " + options_.source.string() + " is damaged in " +
                       std::to_string(damage.size()) + " place(s):";
    for (std::size_t i = 0; i < std::min(damage.size(), kDamageNamed); ++i) {
        text += (i > 0 ? ";" : "") + std::string(" log offset ") +
                std::to_string(damage[i].at.value) + ", " + std::to_string(damage[i].bytes) +
                " B: " + damage[i].why;
    }
    return Error{Errc::kCorrupt, text};
}

Status Import::check_space() const {
    const std::uint64_t needed = bytes_needed(source_, options_.is_linked);
    GANTRY_ASSIGN_OR_RETURN(const std::uint64_t free, files_.free_bytes(parent_of(work_)));
    if (free < needed) {
        return Error{Errc::kDiskFull,
                     "the import needs " + std::to_string(needed) + " B, " +
                         parent_of(work_).string() + " has " + std::to_string(free) + " B free"};
    }
    return ok();
}

Status Import::clear_work() {
    std::error_code failed;
    fs::remove_all(work_, failed);
    if (failed) {
        return Error{Errc::kIo, "removal of " + work_.string() + ": " + failed.message()};
    }
    return ok();
}

Result<Store::Opened> Import::open_store(MetricRegistry& metrics) {
    StoreOptions store;
    store.directory = work_;
    // A next segment as large as the source's: the broker's own setting counts from its start on.
    constexpr std::uint64_t kSegmentBytesMin = std::uint64_t{1} << 20U;
    store.segment_bytes =
        std::clamp(source_.list.back()->bytes(), kSegmentBytesMin, std::uint64_t{1} << 30U);
    store.prefault_bytes = 0;
    return Store::open(files_, clock_, metrics, store);
}

Status Import::commit(Store& store) {
    wire::StateRecord record;
    for (const wire::StateChange& change : report_.plan.changes) {
        *record.add_changes() = change;
        if (record.changes_size() == kChangesPerRecord) {
            GANTRY_TRY(store.state().commit(record));
            record.Clear();
        }
    }
    if (record.changes_size() > 0) {
        GANTRY_TRY(store.state().commit(record));
    }
    return ok();
}

Status Import::fill() {
    if (files_.exists(work_ / "importing")) {
        GANTRY_ASSIGN_OR_RETURN(lock_, files_.lock(work_ / "importing"));
    }
    GANTRY_TRY(clear_work());
    GANTRY_TRY(files_.create_directories(work_));
    GANTRY_ASSIGN_OR_RETURN(lock_, files_.lock(work_ / "importing"));
    GANTRY_ASSIGN_OR_RETURN(
        report_.log,
        copy_log(files_, source_, work_ / "commitlog", options_.is_linked, options_.on_progress));
    report_.plan.mark.set_importedms(clock_.wall_ms());
    GANTRY_TRY(ImportMark(report_.plan.mark).save(files_, work_));
    if (options_.on_progress) {
        options_.on_progress("indexing", 0, source_.log.records);
    }
    MetricRegistry metrics;
    GANTRY_ASSIGN_OR_RETURN(const Store::Opened opened, open_store(metrics));
    const LogOffset end = opened.store->watermarks().appended;
    if (end != source_.log.end) {
        return Error{Errc::kCorrupt,
                     "the copied log ends at " + std::to_string(end.value) + ", the source's at " +
                         std::to_string(source_.log.end.value) + ": " + opened.recovery.note};
    }
    GANTRY_TRY(commit(*opened.store));
    return opened.store->close();
}

Status Import::verify() {
    MetricRegistry metrics;
    GANTRY_ASSIGN_OR_RETURN(const Store::Opened opened, open_store(metrics));
    GANTRY_ASSIGN_OR_RETURN(
        report_.verification,
        verify_import(*opened.store, source_, report_.plan, options_.on_progress));
    return opened.store->close();
}

Status Import::publish() {
    GANTRY_TRY(files_.remove(work_ / "importing"));
    lock_.reset();
    GANTRY_TRY(files_.rename(work_, options_.directory));
    return files_.sync_directory(parent_of(work_));
}

Result<ImportReport> Import::run() {
    GANTRY_TRY(check_target());
    GANTRY_ASSIGN_OR_RETURN(source_, read_source(files_, options_.source, options_.on_progress));
    report_.was_stopped_cleanly = source_.was_stopped_cleanly;
    report_.is_dry = options_.is_dry;
    report_.first = source_.log.first;
    report_.end = source_.log.end;
    report_.records = source_.log.records;
    report_.plan = plan_import(source_);
    if (auto note = retention_note(source_.log.first_store_ms, clock_.wall_ms())) {
        report_.plan.warnings.push_back(std::move(*note));
    }
    GANTRY_TRY(check_damage());
    GANTRY_TRY(check_space());
    if (options_.is_dry) {
        return std::move(report_);
    }
    GANTRY_TRY(fill());
    GANTRY_TRY(verify());
    if (report_.is_good()) {
        GANTRY_TRY(publish());
    }
    return std::move(report_);
}

}  // namespace

Result<ImportReport> import_rocketmq(FileSystem& files,
                                     Clock& clock,
                                     const ImportOptions& options) {
    return Import(files, clock, options).run();
}

}  // namespace gantry::storage
