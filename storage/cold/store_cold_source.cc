// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/store_cold_source.h"

#include "storage/cold/page_cache.h"
#include "storage/store_parts.h"

#include <utility>

namespace gantry::storage {

StoreColdSource::StoreColdSource(const Store& store, Store::Parts& parts) noexcept
    : store_(store),
      parts_(parts),
      flushes_(parts.metrics.counter("gantry_store_flushes_total", "Syncs of the log")),
      flush_microseconds_(parts.metrics.counter("gantry_store_flush_microseconds_total",
                                                "Time spent in syncs of the log")) {}

ReadResult StoreColdSource::find(const Queue& queue, const ReadRequest& request) {
    // Outside the index's lock, which loops take too.
    for (const Bytes memory : queue.index->memory_of(request.from, kUnitsAhead)) {
        bring_in(memory.data(), memory.size());
    }
    return store_.read(queue, request);
}

SegmentPtr StoreColdSource::segment(LogOffset at) {
    return parts_.log->segments().find(at);
}

LogOffset StoreColdSource::end() {
    return parts_.log->appended();
}

void StoreColdSource::damage_found(LogOffset from, LogOffset to, std::string why) {
    parts_.damage_found(from, to, std::move(why));
}

std::pair<std::uint64_t, std::uint64_t> StoreColdSource::flushes() {
    if (parts_.options.flush == FlushMode::kAsync) {
        return {};
    }
    return {flushes_.value(), flush_microseconds_.value()};
}

Status Store::read_cold(ColdRequest request, ColdDone done) const {
    return parts_->cold->read(std::move(request), std::move(done));
}

void Store::cold_answered_after(std::chrono::nanoseconds lag) const {
    parts_->cold->answered_after(lag);
}

void Store::stop_cold_reads() {
    parts_->cold->stop();
}

void Store::start_cold_reads() {
    parts_->cold->start();
}

}  // namespace gantry::storage
