// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/log_pieces.h"

#include "common/checksum.h"
#include "storage/log/run_bytes.h"

#include <algorithm>
#include <string>

namespace gantry::storage {
namespace {

Error outside(LogOffset at, const Watermarks& marks) {
    return Error{Errc::kNotFound,
                 "log offset " + std::to_string(at.value) + " is outside the log, which is [" +
                     std::to_string(marks.first.value) + ", " +
                     std::to_string(marks.appended.value) + ")"};
}

}  // namespace

Result<LogPiece> LogPieces::get(LogOffset at, std::uint64_t bytes_max) {
    const Watermarks marks = parts_.log->watermarks();
    if (at < marks.first || at > marks.appended) {
        return outside(at, marks);
    }
    LogPiece piece;
    piece.run.at = at;
    if (at == marks.appended || bytes_max == 0) {
        return piece;
    }
    const SegmentPtr segment = parts_.log->segments().find(at);
    if (segment == nullptr) {
        return at < parts_.log->first()
                   ? outside(at, parts_.log->watermarks())
                   : Error{Errc::kCorrupt,
                           "the segment of log offset " + std::to_string(at.value) + " is missing"};
    }
    constexpr auto kBytesMax = std::uint64_t{1} << 30U;
    LogOffset end = std::min({at + static_cast<std::int64_t>(std::min(bytes_max, kBytesMax)),
                              segment->end(),
                              marks.appended});
    if (!parts_.lost->empty()) {
        const auto lost = parts_.lost->snapshot();
        if (const LostRange* const range = find_lost(*lost, at, end)) {
            if (range->from <= at) {
                return Error{Errc::kCorrupt,
                             "log offsets " + std::to_string(range->from.value) + " to " +
                                 std::to_string(range->to.value) +
                                 " are quarantined: " + range->reason};
            }
            end = range->from;
        }
    }
    piece.run.fd = segment->file().descriptor();
    piece.run.file_offset = bytes_between(segment->base(), at);
    piece.run.length = bytes_between(at, end);
    piece.run.pin = segment;
    if (segment->is_mapped()) {
        piece.run.memory = Bytes(segment->memory(at), piece.run.length);
        piece.sum = xxh3(piece.run.memory);
        return piece;
    }
    GANTRY_TRY(sum_from_disk(piece, segment->base()));
    return piece;
}

/// Ends the piece where a block does, if it has one: the next one is compared as a whole then.
Status LogPieces::sum_from_disk(LogPiece& piece, LogOffset segment_base) {
    LogRun& run = piece.run;
    const std::uint64_t behind = (run.file_offset + run.length) % BlockSums::kBlockBytes;
    if (run.length > behind + BlockSums::kBlockBytes) {
        run.length -= behind;
    }
    std::vector<std::byte> bytes(run.length);
    GANTRY_TRY(read_run(run, bytes));
    GANTRY_TRY(compare_blocks(run.at, bytes, segment_base));
    piece.sum = xxh3(bytes);
    return ok();
}

Status LogPieces::compare_blocks(LogOffset at, Bytes bytes, LogOffset segment_base) {
    const LogOffset end = at + static_cast<std::int64_t>(bytes.size());
    for (const BlockSum& block : sums_of(segment_base, at, end)) {
        const auto inside = static_cast<std::size_t>(block.at - at);
        if (xxh3(bytes.subspan(inside, block.bytes)) != block.sum) {
            return Error{Errc::kCorrupt,
                         "the checksum of the block at log offset " +
                             std::to_string(block.at.value) + " does not match"};
        }
    }
    return ok();
}

/// Those of blocks that are whole in [from, to). A segment that is not mapped gets no new ones.
std::vector<BlockSum> LogPieces::sums_of(LogOffset segment_base, LogOffset from, LogOffset to) {
    const MutexLock lock(mutex_);
    if (base_ != segment_base) {
        base_ = segment_base;
        // Without them the records' own checksums have to do.
        sums_ = parts_.log->sums().load(segment_base).value_or(std::vector<BlockSum>());
    }
    std::vector<BlockSum> inside;
    std::copy_if(sums_.begin(), sums_.end(), std::back_inserter(inside), [&](const BlockSum& sum) {
        return sum.at >= from && sum.end() <= to;
    });
    return inside;
}

}  // namespace gantry::storage
