// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/unit_check.h"

#include "common/log.h"
#include "storage/cold/page_cache.h"
#include "storage/index/unit_tag.h"

#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

QueueUnit unit_of(const wire::Record& record) {
    return {record.log_offset,
            static_cast<std::int32_t>(record.stored_bytes),
            unit_tag(record.properties)};
}

/// Has the unit read from the disk outside the queue's lock, which loops take too.
std::optional<QueueUnit> unit_at(const QueueIndex& queue, QueueOffset at) {
    for (const Bytes memory : queue.memory_of(at, 1)) {
        bring_in(memory.data(), memory.size());
    }
    return queue.unit_at(at);
}

std::string difference(const std::optional<QueueUnit>& unit) {
    if (!unit) {
        return "its queue ends before it";
    }
    return unit->is_hole()
               ? std::string("its unit says that it is lost")
               : "its unit points to " + std::to_string(unit->at.value) + ", " +
                     std::to_string(unit->size) + " B, tag " + std::to_string(unit->tag);
}

}  // namespace

UnitCheck::UnitCheck(Store::Parts& parts) : parts_(parts) {
    Result<std::optional<ImportMark>> imported =
        ImportMark::load(parts.files, parts.options.directory);
    if (imported) {
        imported_ = std::move(imported).value();
    } else {
        // The start has read it: without it units of the imported part are all expected.
        kLog.error("the scrubber does not know what was imported", {{"reason", imported.error()}});
    }
}

UnitCheck::Verdict UnitCheck::check(const wire::Record& record, bool may_mend) {
    QueueIndex* const queue = parts_.queues->find(record.topic, record.queue_id);
    const LogOffset at = record.log_offset;
    const bool is_unlisted =
        imported_ && imported_->covers(at) && imported_->is_unlisted(record, at);
    if (queue == nullptr || is_unlisted || record.queue_offset < queue->min() ||
        queue->min() == queue->max()) {
        return {};
    }
    Origin& origin = origin_of(*queue, record);
    if (!origin.at) {
        return judge_first(*queue, origin);
    }
    if (at < *origin.at) {
        return {};
    }
    const QueueUnit expected = unit_of(record);
    const std::optional<QueueUnit> unit = unit_at(*queue, record.queue_offset);
    if (unit == expected) {
        return {.is_compared = true};
    }
    // Deleted meanwhile: the topic, or the message.
    if (queue->min() == queue->max() || record.queue_offset < queue->min()) {
        return {};
    }
    Verdict verdict{.what = difference(unit), .is_compared = true};
    verdict.is_mended = may_mend && unit.has_value() && at > *origin.at &&
                        queue->rewrite(record.queue_offset, expected);
    return verdict;
}

UnitCheck::Origin& UnitCheck::origin_of(const QueueIndex& queue, const wire::Record& record) {
    const QueueOffset min = queue.min();
    const auto [found, is_new] = origins_.try_emplace(&queue);
    Origin& origin = found->second;
    if (is_new || origin.min != min) {
        origin = {min, std::nullopt, false};
    }
    if (!origin.at && !origin.is_told) {
        origin.at = first_message(queue, record);
    }
    return origin;
}

/// Log offset of the queue's first message, if its unit points to a message that says it is that,
/// or to one that is known to be lost.
std::optional<LogOffset> UnitCheck::first_message(const QueueIndex& queue,
                                                  const wire::Record& record) const {
    QueueOffset first = queue.min();
    std::optional<QueueUnit> unit = unit_at(queue, first);
    if (unit && unit->is_hole()) {
        // Holes lie where the message behind them does.
        first = queue.lower_bound(unit->at + 1) - 1;
        unit = unit_at(queue, first);
    }
    if (!unit || unit->is_hole()) {
        return std::nullopt;
    }
    if (first == record.queue_offset && unit->at == record.log_offset) {
        return unit->at;
    }
    if (find_lost(*parts_.lost->snapshot(), unit->at, unit->end()) != nullptr) {
        return unit->at;
    }
    const Result<std::string> bytes = parts_.record_at(unit->at);
    if (!bytes && bytes.error().code == Errc::kCorrupt) {
        return unit->at;
    }
    const Result<wire::Record> there =
        bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error());
    const bool is_it = there && there->topic == record.topic &&
                       there->queue_id == record.queue_id && there->queue_offset == first;
    return is_it ? std::optional(unit->at) : std::nullopt;
}

UnitCheck::Verdict UnitCheck::judge_first(const QueueIndex& queue, Origin& origin) const {
    const std::optional<QueueUnit> first = unit_at(queue, origin.min);
    const bool is_deleted = queue.min() != origin.min || !first ||
                            (!first->is_hole() && first->end() <= parts_.log->first());
    // A first message that is not shown yet cannot be read; it is looked at again.
    const bool is_new = first && first->at >= parts_.confirmed();
    if (is_deleted || is_new || std::exchange(origin.is_told, true)) {
        return {};
    }
    return {.what = "the first unit of its queue, offset " + std::to_string(origin.min.value) +
                    ", does not point to a whole message of it",
            .is_compared = true};
}

}  // namespace gantry::storage
