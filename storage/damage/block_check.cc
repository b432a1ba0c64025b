// SPDX-License-Identifier: Apache-2.0
#include "storage/damage/block_check.h"

#include "common/checksum.h"

#include <algorithm>

namespace gantry::storage {
namespace {

constexpr char kNameEnd = '\1';
constexpr char kValueEnd = '\2';

}  // namespace

Status BlockCheck::compare(LogOffset from, LogOffset to, const LostRangeList& known) {
    wrong_.clear();
    next_ = 0;
    const auto list = segments_.snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->end() <= from || segment->base() >= to) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> sums, sums_.load(segment->base()));
        for (const BlockSum& block : sums) {
            // A block that reaches behind the file's end is damaged there, not here.
            if (block.end() <= from || block.end() > std::min(to, segment->end()) ||
                find_lost(known, block.at, block.end()) != nullptr) {
                continue;
            }
            bytes_.resize(block.bytes);
            GANTRY_ASSIGN_OR_RETURN(const std::size_t got, read_log(segments_, block.at, bytes_));
            if (got != bytes_.size() || xxh3(bytes_) != block.sum) {
                wrong_.push_back(block);
            }
        }
    }
    explained_.assign(wrong_.size(), std::nullopt);
    return ok();
}

void BlockCheck::explain(LogOffset from, LogOffset to) {
    for (std::size_t i = next_; i < wrong_.size() && wrong_[i].at < to; ++i) {
        if (wrong_[i].end() > from) {
            explained_[i] = true;
        }
    }
}

Result<std::string> BlockCheck::doubt(const LogEntry& entry) {
    while (next_ < wrong_.size() && wrong_[next_].end() <= entry.at) {
        ++next_;
    }
    // A record may lie in many blocks: one that is not explained is enough.
    for (std::size_t i = next_; i < wrong_.size() && wrong_[i].at < entry.end; ++i) {
        GANTRY_ASSIGN_OR_RETURN(const bool is_explained, is_explained(entry.at, i));
        if (!is_explained) {
            return std::string("the checksum of a block does not match");
        }
        if (entry.kind == LogEntry::Kind::kRecord &&
            !are_properties_sound(entry.record.properties)) {
            return std::string("its properties are damaged");
        }
    }
    return std::string();
}

/// Asked first for the first record that overlaps the block and is whole.
Result<bool> BlockCheck::is_explained(LogOffset at, std::size_t number) {
    if (explained_[number]) {
        return *explained_[number];
    }
    const LogOffset end = wrong_[number].end();
    bool is_damaged = false;
    while (at < end && !is_damaged) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
        is_damaged = entry.kind != LogEntry::Kind::kRecord && entry.kind != LogEntry::Kind::kBlank;
        at = entry.end;
    }
    explained_[number] = is_damaged;
    return is_damaged;
}

bool are_properties_sound(std::string_view properties) noexcept {
    if (properties.find('\0') != std::string_view::npos) {
        return false;
    }
    while (!properties.empty()) {
        const std::size_t name_end = properties.find(kNameEnd);
        const std::size_t value_end = properties.find(kValueEnd);
        // The last value may lack its end.
        if (name_end == std::string_view::npos || value_end < name_end) {
            return false;
        }
        if (value_end == std::string_view::npos) {
            return true;
        }
        properties.remove_prefix(value_end + 1);
    }
    return true;
}

}  // namespace gantry::storage
