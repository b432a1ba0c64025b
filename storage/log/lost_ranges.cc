// SPDX-License-Identifier: Apache-2.0
#include "storage/log/lost_ranges.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

namespace gantry::storage {
namespace {

// File: magic | u32 ranges | ranges | u64 XXH3 of everything before.
// Range: i64 from | i64 to | i64 found ms | u64 messages | u16 reason bytes | reason.
constexpr std::string_view kMagic = "GANTRYLR";
constexpr std::size_t kHeadBytes = 12;
constexpr std::size_t kRangeBytes = 34;
constexpr std::size_t kSumBytes = 8;
constexpr std::size_t kReasonBytesMax = 1'000;
constexpr std::uint64_t kFileBytesMax = std::uint64_t{64} << 20U;

template <class T>
void put(std::string& out, T value) {
    const std::size_t at = out.size();
    out.resize(at + sizeof(T));
    store_be<T>(reinterpret_cast<std::byte*>(out.data()) + at, value);
}

std::string encode(const LostRangeList& list) {
    std::string out(kMagic);
    put(out, static_cast<std::uint32_t>(list.size()));
    for (const LostRange& range : list) {
        put(out, range.from.value);
        put(out, range.to.value);
        put(out, range.found_ms);
        put(out, range.messages);
        const std::string_view reason = std::string_view(range.reason).substr(0, kReasonBytesMax);
        put(out, static_cast<std::uint16_t>(reason.size()));
        out += reason;
    }
    put(out, xxh3(as_bytes(out)));
    return out;
}

/// What is wrong with the bytes, empty when they are `list`.
std::string decode(Bytes bytes, LostRangeList& list) {
    if (bytes.size() < kHeadBytes + kSumBytes ||
        std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
        return "is no list of lost ranges";
    }
    const Bytes content = bytes.first(bytes.size() - kSumBytes);
    if (load_be<std::uint64_t>(content.data() + content.size()) != xxh3(content)) {
        return "its checksum does not match";
    }
    const auto count = load_be<std::uint32_t>(content.data() + kMagic.size());
    Bytes left = content.subspan(kHeadBytes);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (left.size() < kRangeBytes) {
            return "it ends too early";
        }
        LostRange range;
        range.from = LogOffset(load_be<std::int64_t>(left.data()));
        range.to = LogOffset(load_be<std::int64_t>(left.data() + 8));
        range.found_ms = load_be<std::int64_t>(left.data() + 16);
        range.messages = load_be<std::uint64_t>(left.data() + 24);
        const std::size_t reason_bytes = load_be<std::uint16_t>(left.data() + 32);
        left = left.subspan(kRangeBytes);
        const bool is_ordered = list.empty() || list.back().to <= range.from;
        if (left.size() < reason_bytes || range.from >= range.to || !is_ordered) {
            return "range " + std::to_string(i) + " is not possible";
        }
        range.reason = as_text(left.first(reason_bytes));
        left = left.subspan(reason_bytes);
        list.push_back(std::move(range));
    }
    return left.empty() ? "" : "bytes follow its last range";
}

/// Adds the pieces of `range` that `list` does not cover to `pieces`.
void uncovered(const LostRangeList& list, const LostRange& range, LostRangeList& pieces) {
    const auto add = [&pieces, &range](LogOffset from, LogOffset to) {
        LostRange piece = range;
        piece.from = from;
        piece.to = to;
        // Counted once.
        piece.messages = from == range.from ? range.messages : 0;
        pieces.push_back(std::move(piece));
    };
    LogOffset at = range.from;
    while (const LostRange* const known = find_lost(list, at, range.to)) {
        if (known->from > at) {
            add(at, known->from);
        }
        at = known->to;
    }
    if (at < range.to) {
        add(at, range.to);
    }
}

}  // namespace

const LostRange* find_lost(const LostRangeList& list, LogOffset from, LogOffset to) noexcept {
    const auto found = std::partition_point(
        list.begin(), list.end(), [from](const LostRange& range) { return range.to <= from; });
    return found != list.end() && found->overlaps(from, to) ? &*found : nullptr;
}

LostRanges::LostRanges(FileSystem& files, std::filesystem::path path)
    : files_(files), path_(std::move(path)) {}

Result<LostRanges::Opened> LostRanges::open(FileSystem& files, const std::filesystem::path& path) {
    Opened opened{std::make_unique<LostRanges>(files, path), {}};
    Result<std::string> content = read_file(files, path, kFileBytesMax);
    if (!content) {
        if (content.error().code == Errc::kNotFound) {
            return opened;
        }
        if (content.error().code != Errc::kRefused) {
            return std::move(content).error();
        }
        opened.damage = content.error().detail;
        return opened;
    }
    LostRangeList list;
    if (const std::string damage = decode(as_bytes(*content), list); !damage.empty()) {
        opened.damage = path.string() + ": " + damage;
        return opened;
    }
    opened.ranges->publish(std::move(list));
    return opened;
}

std::shared_ptr<const LostRangeList> LostRanges::snapshot() const {
    const MutexLock lock(mutex_);
    return list_;
}

void LostRanges::publish(LostRangeList list) {
    std::uint64_t bytes = 0;
    std::uint64_t messages = 0;
    for (const LostRange& range : list) {
        bytes += range.bytes();
        messages += range.messages;
    }
    numbers_->bytes.store(bytes, std::memory_order_relaxed);
    numbers_->ranges.store(list.size(), std::memory_order_relaxed);
    numbers_->messages.store(messages, std::memory_order_relaxed);
    const bool is_empty = list.empty();
    auto next = std::make_shared<const LostRangeList>(std::move(list));
    const MutexLock lock(mutex_);
    list_ = std::move(next);
    is_empty_.store(is_empty, std::memory_order_release);
}

Status LostRanges::save(const LostRangeList& list) {
    return write_file_atomically(files_, path_, as_bytes(encode(list)));
}

Result<LostRangeList> LostRanges::add(LostRange range) {
    LostRangeList one;
    one.push_back(std::move(range));
    return add(one);
}

Result<LostRangeList> LostRanges::add(const LostRangeList& ranges) {
    const MutexLock change(change_mutex_);
    LostRangeList list = *snapshot();
    LostRangeList added;
    for (const LostRange& range : ranges) {
        LostRangeList pieces;
        uncovered(list, range, pieces);
        for (const LostRange& piece : pieces) {
            const auto behind =
                std::partition_point(list.begin(), list.end(), [&](const LostRange& known) {
                    return known.from < piece.from;
                });
            list.insert(behind, piece);
            added.push_back(piece);
        }
    }
    if (!added.empty()) {
        publish(std::move(list));
        GANTRY_TRY(save(*snapshot()));
    }
    return added;
}

Status LostRanges::remove(LogOffset from, LogOffset to) {
    const MutexLock change(change_mutex_);
    LostRangeList list;
    for (const LostRange& range : *snapshot()) {
        if (range.from < from || range.to > to) {
            list.push_back(range);
        }
    }
    GANTRY_TRY(save(list));
    publish(std::move(list));
    return ok();
}

Status LostRanges::cut(LogOffset tail) {
    const MutexLock change(change_mutex_);
    const auto before = snapshot();
    if (before->empty() || before->back().to <= tail) {
        return ok();
    }
    LostRangeList list;
    for (LostRange range : *before) {
        range.to = std::min(range.to, tail);
        if (range.from < range.to) {
            list.push_back(std::move(range));
        }
    }
    publish(std::move(list));
    return save(*snapshot());
}

Status LostRanges::forget_before(LogOffset first) {
    const MutexLock change(change_mutex_);
    const auto before = snapshot();
    if (before->empty() || before->front().to > first) {
        return ok();
    }
    LostRangeList list;
    for (const LostRange& range : *before) {
        if (range.to > first) {
            list.push_back(range);
        }
    }
    publish(std::move(list));
    return save(*snapshot());
}

void LostRanges::register_metrics(MetricRegistry& metrics) const {
    const auto gauge = [&](const char* name, const char* help, auto member) {
        metrics.gauge(name, help, [numbers = numbers_, member] {
            return static_cast<double>((*numbers.*member).load(std::memory_order_relaxed));
        });
    };
    gauge("gantry_store_lost_bytes", "Bytes of the log that are quarantined", &Numbers::bytes);
    gauge("gantry_store_lost_ranges", "Pieces of the log that are quarantined", &Numbers::ranges);
    gauge("gantry_store_lost_messages_total",
          "Messages lost with the quarantined pieces of the log, as far as known",
          &Numbers::messages);
}

}  // namespace gantry::storage
