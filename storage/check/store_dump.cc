// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_dump.h"

#include "protocol/wire/properties.h"
#include "storage/check/durable_end.h"
#include "storage/log/log_reader.h"
#include "storage/log/log_volumes.h"
#include "storage/log/segment.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace gantry::storage {
namespace {

class StoreDump {
public:
    StoreDump(FileSystem& files,
              const DumpOptions& options,
              const std::function<Status(const DumpItem&)>& each)
        : files_(files), options_(options), each_(each) {}

    Result<DumpSummary> run();

private:
    Status open();
    Status walk(const Segment& segment);
    Status take_damage(const LogEntry& bad, const Segment& segment, LogOffset& at);
    Result<bool> is_last(LogOffset next, const Segment& segment);
    Status take_gap(LogOffset at, LogOffset end);
    Status take_record(const LogEntry& entry, const Segment& segment);
    Status damaged(const DumpItem& item);
    bool is_selected(const wire::Record& record) const;

    bool is_done() const { return is_over_ || summary_.records >= options_.limit; }

    FileSystem& files_;
    const DumpOptions& options_;
    const std::function<Status(const DumpItem&)>& each_;
    std::unique_ptr<File> lock_;
    SegmentList list_;
    SegmentSet segments_;
    std::optional<LogReader> reader_;
    std::optional<LogReader> probe_;
    LogOffset durable_;
    LogOffset to_;
    bool is_over_ = false;
    DumpSummary summary_;
};

Status StoreDump::open() {
    if (!files_.exists(options_.directory / "commitlog") &&
        !files_.exists(options_.directory / "volumes")) {
        return Error{Errc::kNotFound,
                     options_.directory.string() + " is no store: it has no commitlog"};
    }
    if (!options_.is_live && files_.exists(options_.directory / "lock")) {
        GANTRY_ASSIGN_OR_RETURN(lock_, files_.lock(options_.directory / "lock"));
    }
    GANTRY_ASSIGN_OR_RETURN(list_, list_log_of(files_, options_.directory));
    segments_.assign(list_);
    reader_.emplace(segments_);
    probe_.emplace(segments_);
    GANTRY_ASSIGN_OR_RETURN(durable_, durable_end(files_, options_.directory));
    to_ = options_.is_live ? std::min(options_.to, durable_) : options_.to;
    return ok();
}

bool StoreDump::is_selected(const wire::Record& record) const {
    const std::int64_t offset = record.queue_offset.value;
    return (options_.topic.empty() || record.topic == options_.topic) &&
           (!options_.queue_id || record.queue_id == *options_.queue_id) &&
           offset >= options_.queue_from && offset < options_.queue_to &&
           record.store_ms >= options_.since && record.store_ms <= options_.until &&
           (options_.key.empty() || has_key(record.properties, options_.key));
}

Status StoreDump::damaged(const DumpItem& item) {
    summary_.damages += item.kind == DumpItem::Kind::kDamage ? 1 : 0;
    return each_(item);
}

Status StoreDump::take_gap(LogOffset at, LogOffset end) {
    if (at >= to_ || end <= options_.from || is_done()) {
        return ok();
    }
    return damaged({.kind = DumpItem::Kind::kDamage,
                    .at = at,
                    .bytes = bytes_between(at, end),
                    .file = (options_.directory / "commitlog" / segment_name(at)).string(),
                    .why = "a segment is missing"});
}

Status StoreDump::take_record(const LogEntry& entry, const Segment& segment) {
    summary_.end = entry.end;
    if (entry.at < options_.from || !is_selected(entry.record)) {
        return ok();
    }
    ++summary_.records;
    return each_({.kind = DumpItem::Kind::kRecord,
                  .at = entry.at,
                  .bytes = entry.record.stored_bytes,
                  .file = segment.path().string(),
                  .record = &entry.record});
}

/// Whether no whole record stands at or behind `next`.
Result<bool> StoreDump::is_last(LogOffset next, const Segment& segment) {
    if (next < segment.end()) {
        return false;
    }
    for (const SegmentPtr& later : list_) {
        if (later->base() >= segment.end()) {
            GANTRY_ASSIGN_OR_RETURN(const LogOffset found,
                                    probe_->find_record(later->base(), later->end()));
            if (found < later->end()) {
                return false;
            }
        }
    }
    return true;
}

Status StoreDump::take_damage(const LogEntry& bad, const Segment& segment, LogOffset& at) {
    const bool is_body_only = bad.end > bad.at;
    GANTRY_ASSIGN_OR_RETURN(const LogOffset next, probe_->find_record(bad.at + 1, segment.end()));
    GANTRY_ASSIGN_OR_RETURN(const bool ends_log, is_last(next, segment));
    at = is_body_only ? bad.end : next;
    if (at <= options_.from) {
        return ok();
    }
    DumpItem item{.kind = DumpItem::Kind::kDamage,
                  .at = bad.at,
                  .bytes = bytes_between(bad.at, at),
                  .file = segment.path().string(),
                  .record = is_body_only ? &bad.record : nullptr,
                  .why = bad.why.empty() ? "zeros where a record was" : bad.why};
    if (!ends_log || bad.at < durable_) {
        if (ends_log && !is_body_only) {
            is_over_ = true;
        }
        return damaged(std::move(item));
    }
    is_over_ = true;
    GANTRY_ASSIGN_OR_RETURN(const LogOffset data_end,
                            probe_->end_of_data(bad.at, list_.back()->end()));
    if (data_end == bad.at) {
        return ok();
    }
    item.kind = DumpItem::Kind::kTail;
    item.why = bad.why.empty() ? "bytes that are no record" : bad.why;
    item.bytes = bytes_between(bad.at, data_end);
    return damaged(std::move(item));
}

Status StoreDump::walk(const Segment& segment) {
    // From its beginning, also when little of it is wanted: where records begin is then known.
    LogOffset at = segment.base();
    while (at < segment.end() && at < to_ && !is_done()) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_->read(at));
        if (options_.is_live && entry.end > durable_ && entry.kind != LogEntry::Kind::kBlank) {
            is_over_ = true;  // may be half written
            return ok();
        }
        if (entry.kind == LogEntry::Kind::kRecord) {
            GANTRY_TRY(take_record(entry, segment));
        } else if (entry.kind != LogEntry::Kind::kBlank) {
            GANTRY_TRY(take_damage(entry, segment, at));
            continue;
        }
        at = entry.end;
    }
    return ok();
}

Result<DumpSummary> StoreDump::run() {
    GANTRY_TRY(open());
    for (std::size_t i = 0; i < list_.size() && !is_done(); ++i) {
        if (i > 0 && list_[i]->base() > list_[i - 1]->end()) {
            GANTRY_TRY(take_gap(list_[i - 1]->end(), list_[i]->base()));
        }
        if (list_[i]->end() > options_.from && list_[i]->base() < to_) {
            GANTRY_TRY(walk(*list_[i]));
        }
    }
    const LogOffset log_end = list_.empty() ? LogOffset(0) : list_.back()->end();
    if (durable_ > log_end) {
        GANTRY_TRY(take_gap(log_end, durable_));
    }
    return summary_;
}

}  // namespace

bool has_key(std::string_view properties, std::string_view key) {
    bool found = false;
    wire::for_each_property(properties, [&](std::string_view name, std::string_view value) {
        if (name == wire::property::kUniqueKey) {
            found = found || value == key;
        } else if (name == wire::property::kKeys) {
            while (!value.empty()) {
                const std::size_t end = std::min(value.find(' '), value.size());
                found = found || value.substr(0, end) == key;
                value.remove_prefix(std::min(end + 1, value.size()));
            }
        }
    });
    return found;
}

Result<DumpSummary> dump_store(FileSystem& files,
                               const DumpOptions& options,
                               const std::function<Status(const DumpItem&)>& each) {
    return StoreDump(files, options, each).run();
}

}  // namespace gantry::storage
