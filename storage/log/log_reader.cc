// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log_reader.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace gantry::storage {
namespace {

/// Read from the file at a time.
constexpr std::size_t kChunkBytes = 1 << 20;

/// Asked for from the disk while a chunk is being looked at.
constexpr off_t kAheadBytes = 4 << 20;

/// Up to the log offset field, which is as far as a first look goes.
constexpr std::size_t kHeadBytes = wire::record_at::kLogOffset + 8;

bool is_record_magic(std::uint32_t magic) noexcept {
    return magic == wire::kMagicV1 || magic == wire::kMagicV2;
}

bool is_zero(Bytes bytes) noexcept {
    return std::all_of(
        bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

/// Where data of the file goes on at or behind `at`: unwritten blocks need not be read.
LogOffset next_data(const Segment& segment, LogOffset at) {
    const off_t found = ::lseek(segment.file().descriptor(),
                                static_cast<off_t>(bytes_between(segment.base(), at)),
                                SEEK_DATA);
    return found < 0 ? segment.end() : std::max(at, segment.base() + found);
}

/// While it lives, reads of the segment bring in no more than was asked for. Unwritten blocks that
/// are read ahead count as data from then on, so that next_data would find one after the other.
class NoReadAhead {
public:
    explicit NoReadAhead(SegmentPtr segment) noexcept : segment_(std::move(segment)) {
        advise(POSIX_FADV_RANDOM);
    }

    NoReadAhead(const NoReadAhead&) = delete;
    NoReadAhead& operator=(const NoReadAhead&) = delete;

    ~NoReadAhead() { advise(POSIX_FADV_NORMAL); }

private:
    void advise(int advice) const noexcept {
        static_cast<void>(::posix_fadvise(segment_->file().descriptor(), 0, 0, advice));
    }

    const SegmentPtr segment_;
};

/// Bytes without the zeros at their end.
std::size_t bytes_without_zeros(Bytes bytes) noexcept {
    std::size_t count = bytes.size();
    std::uint64_t word = 0;
    for (; count >= sizeof(word); count -= sizeof(word)) {
        std::memcpy(&word, bytes.data() + count - sizeof(word), sizeof(word));
        if (word != 0) {
            break;
        }
    }
    while (count > 0 && bytes[count - 1] == std::byte{0}) {
        --count;
    }
    return count;
}

/// Where the first segment behind the gap at `at` begins, or `otherwise`.
LogOffset next_segment(const SegmentSet& segments, LogOffset at, LogOffset otherwise) {
    const auto list = segments.snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->base() > at) {
            return segment->base();
        }
    }
    return otherwise;
}

}  // namespace

Status LogReader::fill(LogOffset at, std::size_t bytes) {
    buffer_bytes_ = 0;
    buffer_.resize(bytes);
    GANTRY_ASSIGN_OR_RETURN(buffer_bytes_, read_log(segments_, at, buffer_));
    buffer_at_ = at;
    return ok();
}

Result<Bytes> LogReader::view(LogOffset at, std::size_t bytes) {
    const LogOffset buffer_end = buffer_at_ + static_cast<std::int64_t>(buffer_bytes_);
    if (at < buffer_at_ || at + static_cast<std::int64_t>(bytes) > buffer_end) {
        GANTRY_TRY(fill(at, std::max(kChunkBytes, bytes)));
    }
    const auto offset = static_cast<std::size_t>(at - buffer_at_);
    return Bytes(buffer_).subspan(offset, std::min(bytes, buffer_bytes_ - offset));
}

Result<LogEntry> LogReader::read(LogOffset at) {
    const SegmentPtr segment = segments_.find(at);
    if (segment == nullptr) {
        LogEntry entry;
        entry.at = entry.end = at;
        return entry;
    }
    if (at >= asked_ahead_ || at < buffer_at_) {
        const auto from = static_cast<off_t>(bytes_between(segment->base(), at));
        static_cast<void>(::posix_fadvise(
            segment->file().descriptor(), from, 2 * kAheadBytes, POSIX_FADV_WILLNEED));
        asked_ahead_ = at + kAheadBytes;
    }
    return judge(at, *segment);
}

Result<LogEntry> LogReader::judge(LogOffset at, const Segment& segment) {
    LogEntry entry;
    entry.at = at;
    entry.end = at;
    entry.kind = LogEntry::Kind::kBad;
    const std::uint64_t room = bytes_between(at, segment.end());
    if (room < wire::kBlankBytes) {
        entry.why = "the segment ends";
        return entry;
    }
    GANTRY_ASSIGN_OR_RETURN(Bytes bytes, view(at, std::min<std::uint64_t>(room, kHeadBytes)));
    if (bytes.size() < wire::kBlankBytes) {
        entry.why = "the file ends";
        return entry;
    }
    const auto size = load_be<std::uint32_t>(bytes.data() + wire::record_at::kSize);
    const auto magic = load_be<std::uint32_t>(bytes.data() + wire::record_at::kMagic);
    if (magic == wire::kMagicBlank && size == room) {
        entry.kind = LogEntry::Kind::kBlank;
        entry.end = segment.end();
        return entry;
    }
    if (is_zero(bytes)) {
        entry.kind = LogEntry::Kind::kNothing;
        return entry;
    }
    if (!is_record_magic(magic) || size < wire::kRecordBytesMin || size > room) {
        entry.why = "size " + std::to_string(size) + ", magic " + std::to_string(magic);
        return entry;
    }
    if (load_be<std::int64_t>(bytes.data() + wire::record_at::kLogOffset) != at.value) {
        entry.why = "its log offset is not its position";
        return entry;
    }
    GANTRY_ASSIGN_OR_RETURN(bytes, view(at, size));
    Result<wire::Record> record = wire::parse_record(bytes);
    if (!record) {
        entry.why = record.error().detail;
        return entry;
    }
    entry.record = *record;
    entry.bytes = bytes;
    entry.end = at + size;
    if (wire::body_crc_matches(*record)) {
        entry.kind = LogEntry::Kind::kRecord;
    } else {
        entry.why = "the CRC of its body does not match";
    }
    return entry;
}

Result<LogOffset> LogReader::find_record(LogOffset from, LogOffset to) {
    constexpr std::size_t kStepBytes = 1 << 16;
    LogOffset at = from;
    while (at < to) {
        const SegmentPtr segment = segments_.find(at);
        if (segment == nullptr) {
            at = next_segment(segments_, at, to);
            continue;
        }
        at = next_data(*segment, at);
        if (at >= segment->end()) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const Bytes seen, view(at, kStepBytes));
        std::vector<std::size_t> candidates;
        for (std::size_t i = wire::record_at::kMagic; i + 4 <= seen.size(); ++i) {
            if (seen[i] == std::byte{0xDA} && is_record_magic(load_be<std::uint32_t>(&seen[i]))) {
                candidates.push_back(i - wire::record_at::kMagic);
            }
        }
        // A magic across two steps is seen by the next one.
        const std::size_t step = seen.size() <= 8 ? seen.size() : seen.size() - 7;
        for (const std::size_t candidate : candidates) {
            const LogOffset start = at + static_cast<std::int64_t>(candidate);
            GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, judge(start, *segment));
            if (start < to && entry.kind == LogEntry::Kind::kRecord) {
                return start;
            }
        }
        at += static_cast<std::int64_t>(step);
    }
    return to;
}

Result<LogOffset> LogReader::end_of_data(LogOffset from, LogOffset to) {
    LogOffset end = from;
    LogOffset at = from;
    while (at < to) {
        const SegmentPtr segment = segments_.find(at);
        if (segment == nullptr) {
            break;
        }
        const NoReadAhead no_read_ahead(segment);
        at = next_data(*segment, at);
        if (at >= segment->end() || at >= to) {
            continue;
        }
        // Never into a page that the next read begins in: it would count as data as well.
        const std::uint64_t step = kChunkBytes - bytes_between(segment->base(), at) % kChunkBytes;
        const std::uint64_t left = bytes_between(at, std::min(to, segment->end()));
        GANTRY_TRY(fill(at, std::min(left, step)));
        const Bytes seen = Bytes(buffer_).first(buffer_bytes_);
        if (seen.empty()) {
            at = segment->end();
            continue;
        }
        if (const std::size_t data = bytes_without_zeros(seen); data > 0) {
            end = at + static_cast<std::int64_t>(data);
        }
        at += static_cast<std::int64_t>(seen.size());
    }
    return end;
}

}  // namespace gantry::storage
