// SPDX-License-Identifier: Apache-2.0
#include "broker/filter/filtered_read.h"

#include "broker/delivery/runs.h"
#include "broker/filter/record_sieve.h"

#include <utility>

namespace gantry::broker {
namespace {

using storage::ReadRequest;
using storage::ReadResult;
using storage::ReadStatus;

constexpr std::uint32_t kWindowMessages = 1'024;
constexpr std::uint32_t kWindowBytes = 256U << 10U;

bool is_in_memory(const ReadResult& found) {
    return !found.is_cold && are_in_memory(found);
}

void count(Counters& counters, const RecordSieve& sieve, const ReadResult& kept) {
    counters.filter_scanned.add(sieve.examined());
    counters.filter_matched.add(kept.count);
    counters.filter_failed.add(sieve.failed());
}

ReadResult nothing_yet(const ReadRequest& wanted) {
    ReadResult kept;
    kept.status = ReadStatus::kNoMatch;
    kept.next = wanted.from;
    return kept;
}

}  // namespace

ReadResult FilteredReader::read(const storage::Queue& queue,
                                const ReadRequest& wanted,
                                const filter::SqlFilter& filter) const {
    ReadResult kept = nothing_yet(wanted);
    RecordSieve sieve(filter, wanted, kept);
    ReadRequest window = wanted;
    window.bytes_max = kWindowBytes;
    window.now = 0;  // the sieve counts offsets, and looks at properties anyway
    std::uint64_t bytes = 0;
    while (!sieve.is_full() && sieve.examined() < kScanMessages && bytes < kScanBytes) {
        window.from = kept.next;
        window.count_max = kWindowMessages;
        ReadResult found = store_.read(queue, window);
        kept.min = found.min;
        kept.max = found.max;
        if (found.status != ReadStatus::kFound) {
            const bool is_end = found.status == ReadStatus::kAtEnd && sieve.examined() > 0;
            if (kept.count > 0 || is_end) {
                break;
            }
            count(counters_, sieve, kept);
            return found;
        }
        if (!is_in_memory(found)) {
            kept.is_cold = kept.count == 0;
            break;
        }
        bytes += found.bytes;
        if (sieve.take(found)) {
            continue;
        }
        // Where it ends only its unit says. What is before it is given first.
        window.count_max = 1;
        found = store_.read(queue, window);
        if (kept.count == 0 && found.status == ReadStatus::kFound && is_in_memory(found)) {
            sieve.keep_unread(found);
        }
        kept.is_cold = kept.count == 0;
        break;
    }
    count(counters_, sieve, kept);
    return kept;
}

ReadRequest FilteredReader::cold_request(const ReadRequest& wanted) {
    ReadRequest request = wanted;
    request.count_max = kScanMessages;
    request.bytes_max = kColdBytes;
    request.cold_bytes_max = kColdBytes;
    request.now = 0;
    return request;
}

Result<ReadResult> FilteredReader::sift(const storage::Queue& queue,
                                        const ReadRequest& wanted,
                                        const filter::SqlFilter& filter,
                                        ReadResult found) const {
    if (found.status != ReadStatus::kFound) {
        return found;
    }
    GANTRY_TRY(load_runs(found));
    ReadResult kept = nothing_yet(wanted);
    kept.min = found.min;
    kept.max = found.max;
    RecordSieve sieve(filter, wanted, kept);
    if (!sieve.take(found)) {
        ReadRequest one = wanted;
        one.now = 0;
        one.count_max = 1;
        found = store_.read(queue, one);
        if (found.status != ReadStatus::kFound) {
            return found;
        }
        GANTRY_TRY(load_runs(found));
        sieve.keep_unread(found);
    }
    count(counters_, sieve, kept);
    return kept;
}

}  // namespace gantry::broker
