// SPDX-License-Identifier: Apache-2.0
#include "broker/filter/record_sieve.h"

#include "protocol/wire/record.h"

#include <utility>

namespace gantry::broker {
namespace {

constexpr std::size_t kHostBytesV4 = 8;
constexpr std::size_t kHostBytesV6 = 20;

/// Bytes of the part of a record that starts at `record`; 0 when it does not say.
std::size_t size_of(Bytes record) noexcept {
    if (record.size() < wire::kRecordBytesMin) {
        return 0;
    }
    const auto size = load_be<std::int32_t>(record.data() + wire::record_at::kSize);
    const bool is_sane = size >= static_cast<std::int32_t>(wire::kRecordBytesMin) &&
                         static_cast<std::size_t>(size) <= record.size();
    return is_sane ? static_cast<std::size_t>(size) : 0;
}

/// Where the length of the body stands.
std::size_t body_length_at(Bytes record) noexcept {
    const auto flag = load_be<std::int32_t>(record.data() + wire::record_at::kSysFlag);
    const std::size_t born =
        (flag & wire::sys_flag::kBornHostV6) != 0 ? kHostBytesV6 : kHostBytesV4;
    const std::size_t store =
        (flag & wire::sys_flag::kStoreHostV6) != 0 ? kHostBytesV6 : kHostBytesV4;
    // Between them the store time; behind them reconsume times and the transaction's offset.
    return wire::record_at::kBornHost + born + 8 + store + 12;
}

}  // namespace

std::optional<std::string_view> properties_of(Bytes record) noexcept {
    if (record.size() < wire::kRecordBytesMin) {
        return std::nullopt;
    }
    const auto magic = load_be<std::uint32_t>(record.data() + wire::record_at::kMagic);
    if (magic != wire::kMagicV1 && magic != wire::kMagicV2) {
        return std::nullopt;
    }
    ByteReader reader(record);
    reader.take(body_length_at(record));
    const auto body_bytes = reader.read<std::int32_t>();
    if (body_bytes < 0) {
        return std::nullopt;
    }
    reader.take(static_cast<std::size_t>(body_bytes));
    const std::size_t topic_bytes = magic == wire::kMagicV2
                                        ? std::size_t{reader.read<std::uint16_t>()}
                                        : std::size_t{reader.read<std::uint8_t>()};
    reader.take(topic_bytes);
    const auto properties_bytes = reader.read<std::int16_t>();
    if (properties_bytes < 0) {
        return std::nullopt;
    }
    const Bytes properties = reader.take(static_cast<std::size_t>(properties_bytes));
    if (reader.failed() || reader.remaining() != 0) {
        return std::nullopt;
    }
    return as_text(properties);
}

bool RecordSieve::take(const storage::ReadResult& found) {
    const std::uint64_t before = examined_;
    for (const storage::LogRun& run : found.runs) {
        if (!take_run(run)) {
            break;
        }
    }
    return examined_ != before || is_full_;
}

/// False when it stopped inside the run.
bool RecordSieve::take_run(const storage::LogRun& run) {
    std::size_t at = 0;
    while (at < run.memory.size()) {
        const std::size_t bytes = size_of(run.memory.subspan(at));
        if (bytes == 0) {
            return false;
        }
        if (is_wanted(run.memory.subspan(at, bytes)) && !keep(run, at, bytes)) {
            is_full_ = true;
            return false;
        }
        ++examined_;
        kept_.next += 1;
        at += bytes;
        if (kept_.count == limits_.count_max) {
            is_full_ = true;
            return false;
        }
    }
    return true;
}

bool RecordSieve::is_wanted(Bytes record) noexcept {
    const std::optional<std::string_view> properties = properties_of(record);
    const filter::Verdict verdict =
        properties ? filter_.evaluate(*properties) : filter::Verdict::kTrue;
    failed_ += verdict == filter::Verdict::kFailed ? 1 : 0;
    return verdict == filter::Verdict::kTrue;
}

bool RecordSieve::keep(const storage::LogRun& run, std::size_t at, std::size_t bytes) {
    if (kept_.count > 0 && kept_.bytes + bytes > limits_.bytes_max) {
        return false;
    }
    const Bytes memory = run.memory.subspan(at, bytes);
    storage::LogRun* const last = kept_.runs.empty() ? nullptr : &kept_.runs.back();
    if (last != nullptr && last->pin == run.pin &&
        last->memory.data() + last->length == memory.data()) {
        last->length += bytes;
        last->memory = Bytes(last->memory.data(), last->length);
    } else {
        storage::LogRun part = run;
        part.memory = memory;
        part.file_offset += at;
        part.length = bytes;
        part.at += static_cast<std::int64_t>(at);
        kept_.runs.push_back(std::move(part));
    }
    kept_.bytes += bytes;
    kept_.count += 1;
    kept_.status = storage::ReadStatus::kFound;
    return true;
}

void RecordSieve::keep_unread(const storage::ReadResult& found) {
    kept_.runs.insert(kept_.runs.end(), found.runs.begin(), found.runs.end());
    kept_.bytes += found.bytes;
    kept_.count += found.count;
    kept_.next = found.next;
    kept_.status = storage::ReadStatus::kFound;
    examined_ += found.count;
    is_full_ = true;
}

}  // namespace gantry::broker
