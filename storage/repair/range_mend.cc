// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/range_mend.h"

#include "common/bytes.h"
#include "common/checksum.h"
#include "common/failpoint/failpoint.h"
#include "protocol/wire/record.h"
#include "storage/scrub/scrub_file.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::int64_t kBlock = BlockSums::kBlockBytes;

/// Asked for at once: whole blocks.
constexpr std::int64_t kFetchBytes = 4 * kBlock;

/// Begin of the block of `at`.
LogOffset block_begin(const Segment& segment, LogOffset at) {
    return segment.base() + (at - segment.base()) / kBlock * kBlock;
}

/// End of the block of the byte before `at`.
LogOffset block_end(const Segment& segment, LogOffset at) {
    return std::min(segment.end(), block_begin(segment, at - 1) + kBlock);
}

}  // namespace

RangeMend::RangeMend(Store::Parts& parts, ReplicaSource& source, const MendOrder& order)
    : parts_(parts), source_(source), order_(order) {}

Status RangeMend::run() {
    if (order_.to > parts_.confirmed()) {
        return Error{Errc::kBusy,
                     "the log is confirmed up to " + std::to_string(parts_.confirmed().value) +
                         " only, not to " + std::to_string(order_.to.value)};
    }
    LogOffset at = order_.from;
    while (at < order_.to) {
        GANTRY_ASSIGN_OR_RETURN(const SegmentPtr segment, segment_at(at));
        const LogOffset to = std::min(order_.to, segment->end());
        GANTRY_TRY(mend_segment(segment, at, to));
        at = to;
    }
    return ok();
}

/// The segment that holds `at`; its file is made where there is none, or is too short for what is
/// lost of it.
Result<SegmentPtr> RangeMend::segment_at(LogOffset at) {
    const auto list = parts_.log->segments().snapshot();
    const auto next = std::find_if(
        list->begin(), list->end(), [at](const SegmentPtr& other) { return other->base() > at; });
    const LogOffset until = next != list->end() ? (*next)->base() : order_.to;
    const SegmentPtr before = next != list->begin() ? *std::prev(next) : SegmentPtr();
    const auto full = static_cast<std::int64_t>(parts_.options.segment_bytes);
    const bool has_it = before != nullptr && at < before->end();
    if (has_it && (order_.to <= before->end() || until <= before->end() ||
                   before->end() >= before->base() + full)) {
        return before;
    }
    const bool is_short = before != nullptr && before->end() < before->base() + full;
    const LogOffset base = is_short ? before->base() : before != nullptr ? before->end() : at;
    if (base > at || base + full <= at) {
        return Error{Errc::kCorrupt,
                     "no segment of " + std::to_string(full) + " B from " +
                         std::to_string(base.value) + " on holds " + std::to_string(at.value)};
    }
    return parts_.log->restore_segment(base, bytes_between(base, std::min(until, base + full)));
}

Status RangeMend::mend_segment(const SegmentPtr& segment, LogOffset from, LogOffset to) {
    GANTRY_TRY(open(segment, from));
    to_ = to;
    while (at_ < to_) {
        GANTRY_ASSIGN_OR_RETURN(const std::uint64_t whole, step());
        GANTRY_TRY(write(whole));
    }
    GANTRY_FAILPOINT_TRY("mend.written");
    return finish(from);
}

Status RangeMend::open(const SegmentPtr& segment, LogOffset from) {
    segment_ = segment;
    GANTRY_ASSIGN_OR_RETURN(file_,
                            parts_.files.open(segment->path(), FileSystem::Open::kReadWrite));
    GANTRY_ASSIGN_OR_RETURN(sums_, parts_.log->sums().load(segment->base()));
    stale_.clear();
    written_.clear();
    window_.clear();
    is_in_blank_ = false;
    at_ = from;
    fetched_ = block_begin(*segment, from);
    return ok();
}

/// Fetches whole blocks, not many at once, up to the one of the byte before `until` at most, or of
/// what is lost.
Status RangeMend::fetch_more(LogOffset until) {
    const LogOffset end = std::min(
        {block_end(*segment_, std::max(until, to_)), fetched_ + kFetchBytes, parts_.confirmed()});
    if (end <= fetched_) {
        return wrong(at_, "its record ends behind what is confirmed");
    }
    const std::uint64_t wanted = bytes_between(fetched_, end);
    GANTRY_ASSIGN_OR_RETURN(const std::string bytes, source_.fetch(order_.copy, fetched_, wanted));
    if (bytes.size() != wanted) {
        return wrong(fetched_,
                     std::to_string(bytes.size()) + " B came, not " + std::to_string(wanted));
    }
    GANTRY_TRY(check_sums(fetched_, as_bytes(bytes)));
    GANTRY_FAILPOINT_TRY("mend.fetched");
    const std::size_t skipped = fetched_ < at_ ? bytes_between(fetched_, std::min(at_, end)) : 0;
    window_.append(bytes, skipped);
    fetched_ = end;
    return ok();
}

Status RangeMend::check_sums(LogOffset at, Bytes bytes) {
    const LogOffset end = at + static_cast<std::int64_t>(bytes.size());
    for (const BlockSum& block : sums_) {
        if (block.at < at || block.end() > end) {
            continue;
        }
        const Bytes inside = bytes.subspan(bytes_between(at, block.at), block.bytes);
        if (xxh3(inside) == block.sum) {
            continue;
        }
        if (!is_sum_of_damage(block)) {
            return wrong(block.at, "the checksum of its block does not match");
        }
        stale_.push_back(block.at);
    }
    return ok();
}

/// The sum of a block that was flushed in parts may be one of bytes that were damaged by then. Such
/// a sum fits what the disk has, and vouches for nothing.
bool RangeMend::is_sum_of_damage(const BlockSum& block) {
    std::vector<std::byte> there(block.bytes);
    const Result<std::size_t> got =
        file_->read_at(bytes_between(segment_->base(), block.at), there);
    return got && *got == there.size() && xxh3(there) == block.sum;
}

/// How many bytes of the window, from its begin, are whole records in their place; fetches what is
/// missing for one at least.
Result<std::uint64_t> RangeMend::step() {
    std::uint64_t done = 0;
    for (;;) {
        const LogOffset at = at_ + static_cast<std::int64_t>(done);
        if (done > 0 && at >= to_) {
            return done;
        }
        GANTRY_ASSIGN_OR_RETURN(const Judged judged, judge(at, as_bytes(window_).subspan(done)));
        if (judged.whole > 0) {
            done += judged.whole;
        } else if (done > 0) {
            return done;
        } else {
            GANTRY_TRY(fetch_more(judged.needed));
        }
    }
}

/// What `left`, all that has come from `at` on, begins with.
Result<RangeMend::Judged> RangeMend::judge(LogOffset at, Bytes left) {
    const std::uint64_t room = bytes_between(at, segment_->end());
    if (is_in_blank_) {
        return Judged{std::min<std::uint64_t>(left.size(), room), at + 1};
    }
    if (left.size() < std::min<std::uint64_t>(room, wire::kBlankBytes)) {
        return Judged{0, at + std::int64_t{wire::kBlankBytes}};
    }
    if (room < wire::kBlankBytes) {
        return wrong(at, "there is no room for a record");
    }
    const auto size = load_be<std::uint32_t>(left.data() + wire::record_at::kSize);
    const auto magic = load_be<std::uint32_t>(left.data() + wire::record_at::kMagic);
    if (magic == wire::kMagicBlank && size == room) {
        // The rest of a segment: nobody reads it, and its files are the same everywhere.
        is_in_blank_ = true;
        return Judged{left.size(), at + 1};
    }
    const bool is_record = magic == wire::kMagicV1 || magic == wire::kMagicV2;
    if (!is_record || size < wire::kRecordBytesMin || size > room) {
        return wrong(at, "there is no record");
    }
    if (left.size() < size) {
        return Judged{0, at + std::int64_t{size}};
    }
    const Result<wire::Record> record = wire::parse_record(left);
    if (!record) {
        return wrong(at, record.error().detail);
    }
    if (record->log_offset != at || !wire::body_crc_matches(*record)) {
        return wrong(at, "its log offset or the CRC of its body is wrong");
    }
    return Judged{size, at};
}

Status RangeMend::write(std::uint64_t bytes) {
    const std::uint64_t inside = bytes_between(segment_->base(), at_);
    const Bytes whole = as_bytes(window_).first(bytes);
    GANTRY_TRY(file_->write_at(inside, whole));
    written_.push_back({inside, bytes, xxh3(whole)});
    bytes_ += bytes;
    at_ += static_cast<std::int64_t>(bytes);
    window_.erase(0, bytes);
    return ok();
}

/// Makes durable what was written, and sees whether the disk has it.
Status RangeMend::finish(LogOffset from) {
    GANTRY_TRY(file_->sync_data());
    GANTRY_FAILPOINT_TRY("mend.synced");
    ScrubFile disk(segment_, parts_.options.scrub.is_direct);
    std::vector<std::byte> there;
    for (const Written& piece : written_) {
        there.resize(piece.bytes);
        GANTRY_ASSIGN_OR_RETURN(const std::size_t got, disk.read_at(piece.at, there));
        if (got != piece.bytes || xxh3(there) != piece.sum) {
            const LogOffset at = segment_->base() + static_cast<std::int64_t>(piece.at);
            return wrong(at, "the disk does not keep what is written there");
        }
    }
    const std::uint64_t touched =
        bytes_between(block_begin(*segment_, from), block_end(*segment_, at_));
    blocks_ += (touched + BlockSums::kBlockBytes - 1) / BlockSums::kBlockBytes;
    return add_sums(from, at_);
}

/// Of blocks that have none, or one of damaged bytes; the flusher does not come back to those.
Status RangeMend::add_sums(LogOffset from, LogOffset to) {
    BlockSums sums(parts_.files, parts_.path("checksum"));
    const LogOffset durable = std::min(parts_.log->flushed(), segment_->end());
    for (LogOffset at = block_begin(*segment_, from); at < to; at += kBlock) {
        const LogOffset end = std::min(at + kBlock, segment_->end());
        const bool has_sum =
            std::any_of(sums_.begin(), sums_.end(), [at](const auto& sum) { return sum.at == at; });
        const bool is_stale = std::find(stale_.begin(), stale_.end(), at) != stale_.end();
        if (end <= durable && (!has_sum || is_stale)) {
            GANTRY_TRY(sums.add(*segment_, at, end, parts_.state->epochs()));
        }
    }
    return ok();
}

Error RangeMend::wrong(LogOffset at, const std::string& why) const {
    return Error{Errc::kCorrupt,
                 "copy " + std::to_string(order_.copy) + ", log offset " +
                     std::to_string(at.value) + ": " + why};
}

}  // namespace gantry::storage
