// SPDX-License-Identifier: Apache-2.0
#include "broker/filter/record_sieve.h"

#include "protocol/wire/record.h"

#include <utility>

namespace gantry::broker {

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
        const Result<wire::Record> record = wire::parse_record(run.memory.subspan(at));
        if (!record) {
            return false;
        }
        const std::size_t bytes = record->stored_bytes;
        if (is_wanted(record->properties) && !keep(run, at, bytes)) {
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

bool RecordSieve::is_wanted(std::string_view properties) noexcept {
    if (limits_.now != 0 && clock_.is_over(storage::unit_tag(properties))) {
        ++kept_.expired;
        return false;
    }
    const filter::Verdict verdict = filter_.evaluate(properties);
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
