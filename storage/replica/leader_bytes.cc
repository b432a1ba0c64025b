// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/leader_bytes.h"

#include <string>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::size_t kHeadBytes = wire::record_at::kLogOffset + 8;

Error no_continuation(LogOffset at, const std::string& why) {
    return Error{Errc::kCorrupt,
                 "no continuation of the log at offset " + std::to_string(at.value) + ": " + why};
}

/// What begins at `at`, of which `bytes` have come; nothing: more must come.
Result<std::optional<LogEntry>> entry_at(LogOffset at, LogOffset segment_end, Bytes bytes) {
    const std::uint64_t room = bytes_between(at, segment_end);
    if (room < wire::kBlankBytes) {
        return no_continuation(at, "the segment ends");
    }
    if (bytes.size() < wire::kBlankBytes) {
        return std::optional<LogEntry>();
    }
    LogEntry entry;
    entry.at = at;
    const auto size = load_be<std::uint32_t>(bytes.data() + wire::record_at::kSize);
    const auto magic = load_be<std::uint32_t>(bytes.data() + wire::record_at::kMagic);
    if (magic == wire::kMagicBlank) {
        if (size != room) {
            return no_continuation(at,
                                   "the leader's segment ends in " + std::to_string(size) +
                                       " B, this one in " + std::to_string(room) +
                                       " B: segments of different sizes cannot be followed");
        }
        entry.kind = LogEntry::Kind::kBlank;
        entry.end = segment_end;
        return bytes.size() < room ? std::optional<LogEntry>() : std::optional(entry);
    }
    if ((magic != wire::kMagicV1 && magic != wire::kMagicV2) || size < wire::kRecordBytesMin ||
        size > room) {
        return no_continuation(at,
                               "size " + std::to_string(size) + ", magic " + std::to_string(magic));
    }
    if (bytes.size() >= kHeadBytes &&
        load_be<std::int64_t>(bytes.data() + wire::record_at::kLogOffset) != at.value) {
        return no_continuation(at, "its log offset is not its position");
    }
    if (bytes.size() < size) {
        return std::optional<LogEntry>();
    }
    entry.kind = LogEntry::Kind::kRecord;
    entry.end = at + std::int64_t{size};
    entry.bytes = bytes.first(size);
    GANTRY_ASSIGN_OR_RETURN(entry.record, wire::parse_record(entry.bytes));
    if (!wire::body_crc_matches(entry.record)) {
        return no_continuation(at, "the CRC of its body does not match");
    }
    return std::optional(std::move(entry));
}

bool has_more(const LogEntry& entry) noexcept {
    return (entry.record.sys_flag & wire::sys_flag::kMoreFollow) != 0;
}

}  // namespace

void LeaderBytes::begin(LogOffset at) {
    next_ = at;
    open_ = {};
}

Status LeaderBytes::take(const SegmentPtr& segment,
                         LogOffset end,
                         std::vector<LeaderFrame>& frames) {
    while (next_ < end) {
        const Bytes bytes(segment->memory(next_), bytes_between(next_, end));
        GANTRY_ASSIGN_OR_RETURN(auto entry, entry_at(next_, segment->end(), bytes));
        if (!entry) {
            return ok();
        }
        const LogOffset behind = entry->end;
        if (entry->kind == LogEntry::Kind::kBlank) {
            GANTRY_TRY(take_blank(*entry));
        } else {
            GANTRY_TRY(take_record(std::move(*entry), frames));
        }
        next_ = behind;
    }
    return ok();
}

Status LeaderBytes::take_blank(const LogEntry& entry) const {
    return open_.records.empty()
               ? ok()
               : Status(no_continuation(entry.at, "the segment ends within a frame"));
}

Status LeaderBytes::take_record(LogEntry entry, std::vector<LeaderFrame>& frames) {
    const wire::Record& record = entry.record;
    if (!open_.records.empty()) {
        const wire::Record& before = open_.records.back().record;
        if (record.topic != before.topic || record.queue_id != before.queue_id ||
            record.queue_offset != before.queue_offset + 1) {
            return no_continuation(entry.at, "it does not belong to the frame it is in");
        }
    }
    const bool is_last = !has_more(entry);
    open_.end = entry.end;
    open_.records.push_back(std::move(entry));
    if (is_last) {
        frames.push_back(std::exchange(open_, {}));
    }
    return ok();
}

}  // namespace gantry::storage
