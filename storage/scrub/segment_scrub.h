// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/scrub/damage_probe.h"
#include "storage/scrub/scrub_file.h"
#include "storage/scrub/unit_check.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::storage {

/// A record that its consume queue has wrong.
struct WrongUnit {
    LogOffset at;
    std::string message;  ///< "topic orders queue 3 offset 17"
    std::string what;
    bool is_mended = false;
};

/// What steps of a scrub have read and found.
struct ScrubTally {
    std::uint64_t bytes = 0;  ///< read from the disk
    std::uint64_t records = 0;
    std::uint64_t blocks = 0;   ///< compared with their sums
    std::uint64_t units = 0;    ///< compared with their records
    std::uint64_t rereads = 0;  ///< places that looked damaged, and did not when read again
    std::vector<ScrubDamage> damage{};
    std::vector<WrongUnit> wrong_units{};
};

/// Checks one segment from its first record on, a piece at a time: the sum of each block, frame,
/// position and body CRC of each record, its unit.
///
///   read      |block|block|block|block|         sums: one look at each
///   records   o----o-------o----o---- - -       what reaches into the next piece waits for it
///
/// What is known to be lost is passed over; what looks bad is read again by probe_damage.
///
/// Threads   one. Blocks on the disk. Lifetime: keeps the segment's file open; `parts` and `units`
///           outlive it.
class SegmentScrub {
public:
    /// Checks `segment` up to `limit`, where a record begins or the segment ends; all of that is
    /// durable.
    SegmentScrub(Store::Parts& parts, UnitCheck& units, SegmentPtr segment, LogOffset limit);

    const Segment& segment() const noexcept { return *segment_; }

    /// Everything below it has been checked.
    LogOffset position() const noexcept { return at_; }

    bool is_done() const noexcept { return at_ >= limit_; }

    /// Reads and checks the next piece; what it finds is added to `tally`. kIo: a file with
    /// checksums cannot be read. kBusy: no memory.
    Status step(ScrubTally& tally);

private:
    /// What the bytes at a place are.
    enum class Looks : std::uint8_t { kRecord, kBlank, kUnfinished, kBad };

    LostRangeList known() const;
    Status load_sums();
    bool has_read_error(LogOffset from, LogOffset to) const;
    bool has_wrong_sum(LogOffset from, Bytes bytes, ScrubTally& tally);
    Status walk(ScrubTally& tally);
    Looks look(Bytes bytes, wire::Record& record) const;
    void check_unit(const wire::Record& record, ScrubTally& tally);
    Status probe(LogOffset until, ScrubTally& tally);
    void go_to(LogOffset at);

    LogOffset read_end() const noexcept {
        return window_at_ + static_cast<std::int64_t>(window_.size());
    }

    Store::Parts& parts_;
    UnitCheck& units_;
    const SegmentPtr segment_;
    const LogOffset limit_;
    ScrubFile file_;
    bool has_sums_ = false;
    std::vector<BlockSum> sums_;
    LogOffset at_;         ///< of the next record
    LogOffset window_at_;  ///< of what has been read: the begin of a block, or at_
    std::vector<std::byte> window_;
    std::vector<std::byte> piece_;
    LogOffset summed_from_;  ///< all blocks from here to what was read have the right sum
    LostRangeList known_;
    LostRangeList found_;  ///< damage of this segment, whatever became of it
};

}  // namespace gantry::storage
