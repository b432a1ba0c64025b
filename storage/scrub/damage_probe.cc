// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/damage_probe.h"

#include "storage/damage/block_check.h"
#include "storage/log/log_reader.h"
#include "storage/scrub/scrub_file.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

class Probe {
public:
    Probe(const Store::Parts& parts,
          const SegmentPtr& segment,
          const ProbeArea& area,
          const LostRangeList& known)
        : parts_(parts),
          area_(area),
          known_(known),
          base_(segment->base()),
          file_(std::make_shared<ScrubFile>(segment, area.is_direct)) {
        segments_.assign({std::make_shared<const Segment>(
            segment->base(), segment->path(), file_, Mapping(), segment->bytes())});
    }

    Result<Probed> run();

private:
    std::string read_error(LogOffset from, LogOffset to) const {
        return file_->read_error(bytes_between(base_, from), bytes_between(base_, to));
    }

    Result<LogOffset> take(const LogEntry& entry);
    Result<LogOffset> next_that_belongs(LogOffset from);
    bool belongs(const LogEntry& entry) const;
    void add(LogOffset from, LogOffset to, const std::string& why);

    const Store::Parts& parts_;
    const ProbeArea& area_;
    const LostRangeList& known_;
    const LogOffset base_;
    const std::shared_ptr<ScrubFile> file_;
    SegmentSet segments_;
    LogReader reader_{segments_};
    BlockCheck blocks_{segments_, parts_.log->sums()};
    Probed probed_;
};

Result<Probed> Probe::run() {
    GANTRY_TRY(blocks_.compare(area_.from, area_.until, known_));
    LogOffset at = area_.from;
    while (at < area_.until) {
        if (const LostRange* const lost = find_lost(known_, at, at + 1)) {
            at = lost->to;
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
        GANTRY_ASSIGN_OR_RETURN(at, take(entry));
    }
    probed_.behind = std::min(at, area_.limit);
    return std::move(probed_);
}

/// Judges what stands at a place; returns what is behind it.
Result<LogOffset> Probe::take(const LogEntry& entry) {
    if (entry.kind == LogEntry::Kind::kRecord || entry.kind == LogEntry::Kind::kBlank) {
        const LogOffset from = entry.at;
        const LogOffset to = entry.end;
        std::string why = read_error(from, to);
        if (why.empty()) {
            GANTRY_ASSIGN_OR_RETURN(why, blocks_.doubt(entry));
        }
        if (!why.empty()) {
            add(from, to, why);
        }
        return to;
    }
    const LogOffset from = entry.at;
    std::string why = entry.kind == LogEntry::Kind::kNothing
                          ? std::string("zeros where a record was")
                          : entry.why;
    LogOffset to = entry.end;
    if (to <= from) {
        GANTRY_ASSIGN_OR_RETURN(to, next_that_belongs(from + 1));
    }
    to = std::min(to, area_.limit);
    add(from, to, why);
    blocks_.explain(from, to);
    return to;
}

/// The next whole record that its queue knows: bytes in a body may look like one.
Result<LogOffset> Probe::next_that_belongs(LogOffset from) {
    LogOffset at = from;
    while (at < area_.limit) {
        GANTRY_ASSIGN_OR_RETURN(at, reader_.find_record(at, area_.limit));
        if (at < area_.limit) {
            GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
            if (belongs(entry)) {
                return at;
            }
            at += 1;
        }
    }
    return area_.limit;
}

bool Probe::belongs(const LogEntry& entry) const {
    const wire::Record& record = entry.record;
    const QueueIndex* const queue = parts_.queues->find(record.topic, record.queue_id);
    const auto unit = queue != nullptr ? queue->unit_at(record.queue_offset) : std::nullopt;
    // Messages of deleted topics, and deleted ones of topics that live, are in no queue.
    return !unit || unit->is_hole() || unit->at == entry.at;
}

void Probe::add(LogOffset from, LogOffset to, const std::string& why) {
    const std::string unread = read_error(from, to);
    const std::string& reason = unread.empty() ? why : unread;
    std::vector<ScrubDamage>& damage = probed_.damage;
    if (!damage.empty() && damage.back().to == from && damage.back().why == reason) {
        damage.back().to = to;
    } else if (from < to) {
        damage.push_back({from, to, reason, !unread.empty()});
    }
}

}  // namespace

Result<Probed> probe_damage(const Store::Parts& parts,
                            const SegmentPtr& segment,
                            const ProbeArea& area,
                            const LostRangeList& known) {
    return Probe(parts, segment, area, known).run();
}

}  // namespace gantry::storage
