// SPDX-License-Identifier: Apache-2.0
#include "storage/producers/frame_replay.h"

#include "protocol/wire/numbers/send_span.h"
#include "protocol/wire/properties.h"
#include "storage/producers/producer_table.h"
#include "storage/timers/timers.h"

#include <charconv>

namespace gantry::storage {

void FrameReplay::begin(ProducerTable& table, LogOffset from) {
    table_ = &table;
    from_ = from;
    open_.reset();
}

FrameReplay::Open FrameReplay::open(const wire::Record& record, LogOffset at) {
    Open open;
    open.stored.first = at;
    open.stored.queue_offset = record.queue_offset;
    open.stored.store_ms = record.store_ms;
    open.topic = record.topic;
    open.queue_id = record.queue_id;
    if (record.topic == kTimerTopic) {  // numbered in the queue it is for
        const std::string_view id =
            wire::find_property(record.properties, wire::property::kRealQueueId);
        open.topic = wire::find_property(record.properties, wire::property::kRealTopic);
        std::from_chars(id.data(), id.data() + id.size(), open.queue_id);
    }
    if ((record.sys_flag & wire::sys_flag::kNumbered) != 0) {
        const auto number = wire::parse_send_number(
            wire::find_property(record.properties, wire::property::kSendNumber));
        if (number) {
            open.number = *number;
            open.properties = record.properties;
        }
    }
    return open;
}

void FrameReplay::take(const wire::Record& record, LogOffset at, LogOffset end) {
    constexpr std::int32_t kMarks = wire::sys_flag::kNumbered | wire::sys_flag::kMoreFollow;
    if (open_ && open_->stored.end != at) {
        open_.reset();  // the rest of it is lost, and told as such
    }
    if (!open_ && (record.sys_flag & kMarks) == 0) {
        return;
    }
    if (!open_) {
        open_ = open(record, at);
    }
    open_->stored.end = end;
    ++open_->stored.count;
    if ((record.sys_flag & wire::sys_flag::kMoreFollow) != 0) {
        return;
    }
    if (open_->number && open_->stored.first >= from_) {
        const std::uint32_t count = open_->stored.count;
        const std::uint32_t span = wire::send_span_of(open_->properties, count).value_or(count);
        table_->replay({*open_->number, open_->topic, open_->queue_id, span}, open_->stored);
    }
    open_.reset();
}

std::optional<Appended> FrameReplay::torn(LogOffset end) const {
    return open_ && open_->stored.end == end ? std::optional(open_->stored) : std::nullopt;
}

}  // namespace gantry::storage
