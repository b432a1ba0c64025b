// SPDX-License-Identifier: Apache-2.0
#include "common/failpoint/failpoint.h"
#include "protocol/wire/numbers/send_span.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/send_number.h"
#include "storage/index/unit_tag.h"
#include "storage/store_parts.h"

#include <cstring>
#include <string>
#include <utility>

namespace gantry::storage {
namespace {

Error refused(std::string text) {
    return Error{Errc::kRefused, std::move(text)};
}

Error too_large(std::uint64_t bytes, std::uint32_t limit) {
    return refused("record " + std::to_string(bytes) + " B > store.record_bytes_max " +
                   std::to_string(limit) + " B");
}

/// Recovery takes zeros there for a torn record.
Status check_properties(std::string_view properties) {
    if (properties.size() > wire::kPropertiesBytesMax) {
        return refused("properties " + std::to_string(properties.size()) + " B > " +
                       std::to_string(wire::kPropertiesBytesMax) + " B");
    }
    if (const std::size_t zero = properties.find('\0'); zero != std::string_view::npos) {
        return refused("properties have a zero byte at " + std::to_string(zero));
    }
    return ok();
}

Status check_record(const wire::Record& record, const Queue& queue, const StoreOptions& options) {
    if (record.stored_bytes > options.record_bytes_max) {
        return too_large(record.stored_bytes, options.record_bytes_max);
    }
    if (record.topic != queue.topic) {
        return refused("record of topic \"" + std::string(record.topic) + "\" sent to topic \"" +
                       std::string(queue.topic) + '"');
    }
    if (record.queue_id != queue.queue_id) {
        return refused("record of queue " + std::to_string(record.queue_id) + " sent to queue " +
                       std::to_string(queue.queue_id));
    }
    GANTRY_TRY(check_properties(record.properties));
    if ((record.sys_flag & wire::sys_flag::kTransactionMask) != 0 ||
        record.prepared_transaction_offset != 0) {
        return refused("record of a transaction: sysFlag " + std::to_string(record.sys_flag) +
                       ", preparedTransactionOffset " +
                       std::to_string(record.prepared_transaction_offset));
    }
    if (record.store_host.is_v6 != options.store_host.is_v6) {
        return refused(std::string("record leaves room for a store host of IPv") +
                       (record.store_host.is_v6 ? '6' : '4') + ", this broker has IPv" +
                       (options.store_host.is_v6 ? '6' : '4'));
    }
    return ok();
}

bool is_numbered(std::int32_t sys_flag) noexcept {
    return (sys_flag & wire::sys_flag::kNumbered) != 0;
}

Result<std::vector<RecordShape>> check_records(const Queue& queue,
                                               Bytes records,
                                               std::uint32_t count,
                                               const StoreOptions& options) {
    if (count == 0 || records.size() / wire::kRecordBytesMin < count) {
        return refused("record count " + std::to_string(count) + " for " +
                       std::to_string(records.size()) + " B of records");
    }
    std::vector<RecordShape> shapes;
    shapes.reserve(count);
    const auto add = [&](const std::byte*, const wire::Record& record) -> Status {
        GANTRY_TRY(check_record(record, queue, options));
        if (shapes.size() == count) {
            return refused("more records than the count says: " + std::to_string(count));
        }
        if (is_numbered(record.sys_flag) && !shapes.empty()) {
            return refused("record " + std::to_string(shapes.size()) +
                           " of a frame has a send number of its own");
        }
        shapes.push_back({static_cast<std::uint32_t>(record.stored_bytes),
                          unit_tag(record.properties),
                          record.properties});
        return ok();
    };
    GANTRY_TRY(wire::for_each_record(records, add));
    if (shapes.size() != count) {
        return refused(std::to_string(shapes.size()) + " records, but the count says " +
                       std::to_string(count));
    }
    return shapes;
}

Appended receipt(const Reservation& reserved) {
    return {reserved.first,
            reserved.end,
            reserved.queue_offset,
            reserved.count,
            reserved.store_ms,
            false};
}

}  // namespace

void Store::Parts::index_keys(std::string_view topic,
                              std::string_view properties,
                              LogOffset at,
                              WallMs store_ms) {
    const auto put = [&](std::string_view key) {
        static_cast<void>(keys->put(key_hash(topic, key), at, store_ms));
    };
    wire::for_each_property(properties, [&](std::string_view name, std::string_view value) {
        if (name == wire::property::kUniqueKey) {
            put(value);
        } else if (name == wire::property::kKeys) {
            while (!value.empty()) {
                const std::size_t end = std::min(value.find(' '), value.size());
                if (end > 0) {
                    put(value.substr(0, end));
                }
                value.remove_prefix(std::min(end + 1, value.size()));
            }
        }
    });
}

Result<Appended> Store::Parts::append_records(Queue& queue,
                                              Bytes records,
                                              std::uint32_t count,
                                              bool has_keys) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<RecordShape> shapes,
                            check_records(queue, records, count, options));
    const Batch batch{records, shapes, has_keys};
    if (!is_numbered(load_be<std::int32_t>(records.data() + wire::record_at::kSysFlag))) {
        return append_batch(queue, batch);
    }
    GANTRY_ASSIGN_OR_RETURN(const wire::SendNumber number,
                            wire::parse_send_number(wire::find_property(
                                shapes.front().properties, wire::property::kSendNumber)));
    GANTRY_ASSIGN_OR_RETURN(const std::uint32_t span,
                            wire::send_span_of(shapes.front().properties, count));
    return state->producers().in_turn({number, queue.topic, queue.queue_id, span},
                                      clock.wall_ms(),
                                      [&] { return append_batch(queue, batch); });
}

Result<Appended> Store::Parts::append_batch(Queue& queue, const Batch& batch) {
    const Bytes records = batch.records;
    const auto count = static_cast<std::uint32_t>(batch.shapes.size());
    GANTRY_ASSIGN_OR_RETURN(const Reservation reserved,
                            log->reserve(records.size(), *queue.index, count));
    GANTRY_FAILPOINT("append.reserved");
    queue.index->prefetch_unit(reserved.queue_offset);
    std::memcpy(reserved.memory, records.data(), records.size());
    GANTRY_FAILPOINT("append.copied");
    wire::StorePatch patch{
        reserved.queue_offset, reserved.first, reserved.store_ms, options.store_host, false};
    std::byte* record = reserved.memory;
    std::uint32_t left = count;
    for (const RecordShape& shape : batch.shapes) {
        patch.more_follow = --left > 0;
        wire::patch_record(record, patch);
        queue.index->put(patch.queue_offset,
                         {patch.log_offset, static_cast<std::int32_t>(shape.bytes), shape.tag});
        if (batch.has_keys) {
            index_keys(queue.topic, shape.properties, patch.log_offset, patch.store_ms);
        }
        record += shape.bytes;
        patch.queue_offset += 1;
        patch.log_offset += shape.bytes;
        GANTRY_FAILPOINT("append.record");
    }
    GANTRY_FAILPOINT("append.filled");
    log->publish(reserved);
    GANTRY_FAILPOINT("append.published");
    appended_messages.add(count);
    appended_bytes.add(records.size());
    return receipt(reserved);
}

Result<Appended> Store::Parts::append_messages(Queue& queue,
                                               std::span<const wire::Record> messages,
                                               std::int32_t marks) {
    if (messages.empty()) {
        return refused("no message to append");
    }
    constexpr std::int32_t kMarks =
        wire::sys_flag::kNumbered | wire::sys_flag::kMoreFollow | wire::sys_flag::kEndsTimer;
    std::vector<wire::Record> records(messages.begin(), messages.end());
    std::uint64_t total = 0;
    for (wire::Record& record : records) {
        // Copies of records bring the marks of the frame that they were stored in.
        record.sys_flag &= ~(kMarks & ~marks);
        record.sys_flag |= &record != &records.back() ? wire::sys_flag::kMoreFollow : 0;
        record.topic = queue.topic;
        record.queue_id = queue.queue_id;
        record.store_host = options.store_host;
        record.stored_bytes = wire::record_bytes(record);
        GANTRY_TRY(check_properties(record.properties));
        if (record.stored_bytes > options.record_bytes_max) {
            return too_large(record.stored_bytes, options.record_bytes_max);
        }
        total += record.stored_bytes;
    }
    const auto count = static_cast<std::uint32_t>(records.size());
    GANTRY_ASSIGN_OR_RETURN(const Reservation reserved, log->reserve(total, *queue.index, count));
    GANTRY_FAILPOINT("append.reserved");
    LogOffset at = reserved.first;
    QueueOffset queue_at = reserved.queue_offset;
    for (wire::Record& record : records) {
        record.queue_offset = queue_at;
        record.log_offset = at;
        record.store_ms = reserved.store_ms;
        wire::encode_record(record, {reserved.memory + (at - reserved.first), record.stored_bytes});
        const auto bytes = static_cast<std::int32_t>(record.stored_bytes);
        queue.index->put(queue_at, {at, bytes, unit_tag(record.properties)});
        index_keys(queue.topic, record.properties, at, record.store_ms);
        at += bytes;
        queue_at += 1;
        GANTRY_FAILPOINT("append.record");
    }
    GANTRY_FAILPOINT("append.filled");
    log->publish(reserved);
    GANTRY_FAILPOINT("append.published");
    appended_messages.add(count);
    appended_bytes.add(total);
    return receipt(reserved);
}

Result<Appended> Store::append_records(Queue& queue,
                                       Bytes records,
                                       std::uint32_t count,
                                       bool has_keys) {
    return parts_->append_records(queue, records, count, has_keys);
}

Result<Appended> Store::append_messages(Queue& queue, std::span<const wire::Record> messages) {
    return parts_->append_messages(queue, messages);
}

}  // namespace gantry::storage
