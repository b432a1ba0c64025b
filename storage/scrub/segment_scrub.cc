// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/segment_scrub.h"

#include "common/checksum.h"
#include "common/log.h"
#include "storage/check/stored_queues.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

constexpr std::int64_t kBlock = BlockSums::kBlockBytes;
static_assert(ScrubFile::kReadBytes % BlockSums::kBlockBytes == 0);

/// Up to and including the body length, with IPv6 hosts.
constexpr std::size_t kHeadBytesMax = 112;

/// Whether a record of that size can have the body it says. `bytes` hold its head.
bool is_likely_size(Bytes bytes, std::uint32_t size) noexcept {
    constexpr std::uint64_t kAroundBodyMax =
        2 + wire::kTopicBytesMax + 2 + wire::kPropertiesBytesMax;
    const auto flags = load_be<std::uint32_t>(bytes.data() + wire::record_at::kSysFlag);
    const std::size_t born = (flags & wire::sys_flag::kBornHostV6) != 0 ? 20 : 8;
    const std::size_t store = (flags & wire::sys_flag::kStoreHostV6) != 0 ? 20 : 8;
    const std::size_t body_at = wire::record_at::kBornHost + born + 8 + store + 4 + 8;
    const std::uint64_t least =
        body_at + 4 + std::uint64_t{load_be<std::uint32_t>(bytes.data() + body_at)};
    return size >= least && size <= least + kAroundBodyMax;
}

}  // namespace

SegmentScrub::SegmentScrub(Store::Parts& parts,
                           UnitCheck& units,
                           SegmentPtr segment,
                           LogOffset limit)
    : parts_(parts),
      units_(units),
      segment_(std::move(segment)),
      limit_(std::min(limit, segment_->end())),
      file_(segment_, parts.options.scrub.is_direct),
      summed_from_(segment_->base()) {
    go_to(segment_->base());
}

/// Goes on at a record, with nothing read yet.
void SegmentScrub::go_to(LogOffset at) {
    at_ = std::min(at, limit_);
    const std::int64_t inside = at_ - segment_->base();
    window_at_ = segment_->base() + inside / kBlock * kBlock;
    window_.clear();
    summed_from_ = window_at_;
}

/// What needs no second look: lost pieces, and damage that was found on the way.
LostRangeList SegmentScrub::known() const {
    LostRangeList all = found_;
    for (const LostRange& lost : *parts_.lost->snapshot()) {
        if (lost.overlaps(segment_->base(), segment_->end()) &&
            find_lost(found_, lost.from, lost.to) == nullptr) {
            all.push_back(lost);
        }
    }
    std::sort(all.begin(), all.end(), [](const LostRange& a, const LostRange& b) {
        return a.from < b.from;
    });
    return all;
}

Status SegmentScrub::load_sums() {
    if (!std::exchange(has_sums_, true)) {
        GANTRY_ASSIGN_OR_RETURN(sums_, parts_.log->sums().load(segment_->base()));
    }
    return ok();
}

Status SegmentScrub::step(ScrubTally& tally) {
    GANTRY_TRY(load_sums());
    known_ = known();
    while (const LostRange* const lost = find_lost(known_, at_, at_ + 1)) {
        if (is_done()) {
            return ok();
        }
        go_to(lost->to);
    }
    if (is_done()) {
        return ok();
    }
    const LogOffset from = read_end();
    const std::uint64_t wanted =
        std::min<std::uint64_t>(ScrubFile::kReadBytes, bytes_between(from, limit_));
    piece_.resize(wanted);
    const std::uint64_t inside = bytes_between(segment_->base(), from);
    GANTRY_ASSIGN_OR_RETURN(const std::size_t got, file_.read_at(inside, piece_));
    tally.bytes += wanted;
    const LogOffset end = from + static_cast<std::int64_t>(wanted);
    if (got < wanted || has_read_error(from, end) || has_wrong_sum(from, piece_, tally)) {
        return probe(end, tally);
    }
    window_.insert(window_.end(), piece_.begin(), piece_.end());
    return walk(tally);
}

bool SegmentScrub::has_read_error(LogOffset from, LogOffset to) const {
    while (from < to) {
        const LostRange* const lost = find_lost(known_, from, to);
        const LogOffset end = lost != nullptr ? std::max(from, lost->from) : to;
        if (!file_
                 .read_error(bytes_between(segment_->base(), from),
                             bytes_between(segment_->base(), end))
                 .empty()) {
            return true;
        }
        from = lost != nullptr ? lost->to : to;
    }
    return false;
}

bool SegmentScrub::has_wrong_sum(LogOffset from, Bytes bytes, ScrubTally& tally) {
    const LogOffset end = from + static_cast<std::int64_t>(bytes.size());
    auto block = std::partition_point(
        sums_.begin(), sums_.end(), [from](const BlockSum& sum) { return sum.at < from; });
    LogOffset summed = from;
    for (; block != sums_.end() && block->end() <= end; ++block) {
        if (find_lost(known_, block->at, block->end()) != nullptr) {
            continue;
        }
        const auto inside = static_cast<std::size_t>(block->at - from);
        ++tally.blocks;
        if (xxh3(bytes.subspan(inside, block->bytes)) != block->sum) {
            return true;
        }
        summed = block->at == summed ? block->end() : summed;
    }
    if (summed < end) {
        summed_from_ = end;
    }
    return false;
}

/// Checks the records that have been read whole.
Status SegmentScrub::walk(ScrubTally& tally) {
    const LogOffset end = read_end();
    while (at_ < end) {
        if (find_lost(known_, at_, at_ + 1) != nullptr) {
            return ok();
        }
        wire::Record record;
        const Looks looks =
            look(Bytes(window_).subspan(static_cast<std::size_t>(at_ - window_at_)), record);
        if (looks == Looks::kBlank) {
            at_ = limit_;
            return ok();
        }
        if (looks == Looks::kUnfinished && end < limit_) {
            break;
        }
        if (looks != Looks::kRecord) {
            return probe(end, tally);
        }
        ++tally.records;
        check_unit(record, tally);
        at_ += static_cast<std::int64_t>(record.stored_bytes);
    }
    window_.erase(window_.begin(), window_.begin() + (at_ - window_at_));
    window_at_ = at_;
    return ok();
}

/// What `bytes`, all that has been read from at_ on, begin with. A record of an impossible size is
/// not waited for.
SegmentScrub::Looks SegmentScrub::look(Bytes bytes, wire::Record& record) const {
    if (bytes.size() < wire::kBlankBytes) {
        return Looks::kUnfinished;
    }
    const std::uint64_t room = bytes_between(at_, segment_->end());
    const auto size = load_be<std::uint32_t>(bytes.data() + wire::record_at::kSize);
    const auto magic = load_be<std::uint32_t>(bytes.data() + wire::record_at::kMagic);
    if (magic == wire::kMagicBlank) {
        return size == room ? Looks::kBlank : Looks::kBad;
    }
    const bool is_record = magic == wire::kMagicV1 || magic == wire::kMagicV2;
    if (!is_record || size < wire::kRecordBytesMin || size > room) {
        return Looks::kBad;
    }
    if (bytes.size() < size) {
        return bytes.size() < kHeadBytesMax || is_likely_size(bytes, size) ? Looks::kUnfinished
                                                                           : Looks::kBad;
    }
    Result<wire::Record> parsed = wire::parse_record(bytes);
    if (!parsed || parsed->log_offset != at_ || !wire::body_crc_matches(*parsed)) {
        return Looks::kBad;
    }
    record = *parsed;
    return Looks::kRecord;
}

void SegmentScrub::check_unit(const wire::Record& record, ScrubTally& tally) {
    const LogOffset end = at_ + static_cast<std::int64_t>(record.stored_bytes);
    if (find_lost(known_, at_, end) != nullptr) {
        return;
    }
    UnitCheck::Verdict verdict = units_.check(record, at_ >= summed_from_);
    tally.units += verdict.is_compared ? 1 : 0;
    if (!verdict.what.empty()) {
        tally.wrong_units.push_back(
            {at_,
             message_name(record.topic, record.queue_id, record.queue_offset.value),
             std::move(verdict.what),
             verdict.is_mended});
    }
}

/// What was read up to `until` does not look good from at_ on.
Status SegmentScrub::probe(LogOffset until, ScrubTally& tally) {
    const LogOffset from = at_;
    const ProbeArea area{at_, until, limit_, parts_.options.scrub.is_direct};
    GANTRY_ASSIGN_OR_RETURN(Probed probed, probe_damage(parts_, segment_, area, known_));
    tally.bytes += bytes_between(from, probed.behind);
    if (probed.damage.empty()) {
        ++tally.rereads;
        kLog.warn("log looked damaged, and was whole when read again",
                  {{"from", from.value}, {"to", probed.behind.value}});
    }
    for (ScrubDamage& damage : probed.damage) {
        found_.push_back({damage.from, damage.to, 0, 0, {}});
        tally.damage.push_back(std::move(damage));
    }
    go_to(probed.behind);
    return ok();
}

}  // namespace gantry::storage
