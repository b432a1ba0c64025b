// SPDX-License-Identifier: Apache-2.0
#include "storage/damage/segment_files.h"

#include "common/bytes.h"
#include "protocol/wire/record.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

namespace gantry::storage {
namespace {

constexpr std::size_t kHeadBytes = wire::record_at::kLogOffset + 8;

/// Size and log offset that a record at `at` of the file says of itself.
struct Head {
    std::uint32_t size = 0;
    std::int64_t log_offset = 0;
};

Result<std::optional<Head>> head_at(const Segment& segment, std::uint64_t at) {
    std::array<std::byte, kHeadBytes> bytes{};
    GANTRY_ASSIGN_OR_RETURN(const std::size_t got, segment.file().read_at(at, bytes));
    const auto magic = load_be<std::uint32_t>(bytes.data() + wire::record_at::kMagic);
    if (got < bytes.size() || (magic != wire::kMagicV1 && magic != wire::kMagicV2)) {
        return std::optional<Head>();
    }
    return std::optional(Head{load_be<std::uint32_t>(bytes.data() + wire::record_at::kSize),
                              load_be<std::int64_t>(bytes.data() + wire::record_at::kLogOffset)});
}

/// Two records in a row that say they are elsewhere are no damage.
Status check_name(const Segment& segment) {
    GANTRY_ASSIGN_OR_RETURN(const auto first, head_at(segment, 0));
    if (!first || first->log_offset == segment.base().value) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const auto second, head_at(segment, first->size));
    if (!second || second->log_offset - first->log_offset != std::int64_t{first->size}) {
        return ok();
    }
    return Error{Errc::kCorrupt,
                 segment.path().string() + " holds the log from " +
                     std::to_string(first->log_offset) +
                     " on: it has the name of another segment, or is a copy of one"};
}

/// Takes what of [from, to) is not known to be lost as lost now.
void add_missing(LogOffset from, LogOffset to, Quarantine& quarantine) {
    while (from < to) {
        if (const LostRange* const known = quarantine.at(from)) {
            from = known->to;
            continue;
        }
        const LogOffset next = quarantine.next_from(from, to);
        quarantine.add(from, next, "the file of the segment is missing or too short");
        from = next;
    }
}

bool is_known(LogOffset from, LogOffset to, const Quarantine& quarantine) {
    return from >= to || quarantine.bytes_between(from, to) >= bytes_between(from, to);
}

}  // namespace

Status check_segment_files(const CommitLog& log,
                           const ExpectedFiles& expected,
                           Quarantine& quarantine) {
    const auto list = log.segments().snapshot();
    const Segment* before = nullptr;
    for (const SegmentPtr& segment : *list) {
        if (segment->base() < expected.durable) {
            GANTRY_TRY(check_name(*segment));
        }
        const LogOffset end = before != nullptr ? before->end() : segment->base();
        if (!is_known(end, segment->base(), quarantine)) {
            if (expected.refuses || end >= expected.durable) {
                return Error{Errc::kCorrupt,
                             "segment " + before->path().string() + " ends at " +
                                 std::to_string(end.value) + " but the next one is " +
                                 segment->path().string()};
            }
            add_missing(end, segment->base(), quarantine);
        }
        before = segment.get();
    }
    const LogOffset end = before != nullptr ? before->end() : log.first();
    if (is_known(end, expected.durable, quarantine)) {
        return ok();
    }
    // A store without any log is more likely one whose disk was not mounted.
    if (expected.refuses || before == nullptr) {
        return Error{Errc::kCorrupt,
                     "the log was durable up to " + std::to_string(expected.durable.value) +
                         " but the files of " + expected.directory.string() + " cover [" +
                         std::to_string(log.first().value) + ", " + std::to_string(end.value) +
                         "): a segment is missing"};
    }
    add_missing(end, std::max(expected.durable, expected.newest), quarantine);
    return ok();
}

}  // namespace gantry::storage
