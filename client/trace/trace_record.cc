// SPDX-License-Identifier: Apache-2.0
#include "client/trace/trace_record.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>

namespace gantry::client {
namespace {

constexpr char kFieldEnd = '\x01';
constexpr char kRecordEnd = '\x02';

using Fields = std::vector<std::string_view>;

void append_fields(std::string& out, std::initializer_list<std::string_view> fields) {
    for (const std::string_view field : fields) {
        const std::size_t at = out.size();
        out += field.empty() ? "null" : field;
        std::replace_if(
            out.begin() + static_cast<std::ptrdiff_t>(at),
            out.end(),
            [](char c) { return c == kFieldEnd || c == kRecordEnd; },
            ' ');
        out += kFieldEnd;
    }
    out.back() = kRecordEnd;
}

std::string_view bool_text(bool value) {
    return value ? "true" : "false";
}

Fields split(std::string_view record) {
    Fields fields;
    while (true) {
        const std::size_t end = record.find(kFieldEnd);
        fields.push_back(record.substr(0, end));
        if (end == std::string_view::npos) {
            return fields;
        }
        record.remove_prefix(end + 1);
    }
}

/// The field, empty when the record does not have it.
std::string text_at(const Fields& fields, std::size_t at) {
    return at < fields.size() && fields[at] != "null" ? std::string(fields[at]) : std::string();
}

std::int64_t number_at(const Fields& fields, std::size_t at) {
    std::int64_t value = 0;
    if (at < fields.size()) {
        std::from_chars(fields[at].data(), fields[at].data() + fields[at].size(), value);
    }
    return value;
}

TraceRecord pub_of(const Fields& fields) {
    TraceRecord record;
    record.at_ms = number_at(fields, 1);
    record.region = text_at(fields, 2);
    record.group = text_at(fields, 3);
    record.topic = text_at(fields, 4);
    record.message_id = text_at(fields, 5);
    record.tags = text_at(fields, 6);
    record.keys = text_at(fields, 7);
    record.store_host = text_at(fields, 8);
    record.body_bytes = number_at(fields, 9);
    record.cost_ms = number_at(fields, 10);
    record.message_type = static_cast<std::int32_t>(number_at(fields, 11));
    // Old clients leave the offset message id out.
    const bool has_id = fields.size() >= 14;
    record.offset_message_id = has_id ? text_at(fields, 12) : std::string();
    record.is_success = text_at(fields, has_id ? 13 : 12) == "true";
    return record;
}

TraceRecord before_of(const Fields& fields) {
    TraceRecord record;
    record.kind = TraceRecord::Kind::kSubBefore;
    record.at_ms = number_at(fields, 1);
    record.region = text_at(fields, 2);
    record.group = text_at(fields, 3);
    record.request_id = text_at(fields, 4);
    record.message_id = text_at(fields, 5);
    record.retries = static_cast<std::int32_t>(number_at(fields, 6));
    record.keys = text_at(fields, 7);
    return record;
}

TraceRecord after_of(const Fields& fields) {
    TraceRecord record;
    record.kind = TraceRecord::Kind::kSubAfter;
    record.request_id = text_at(fields, 1);
    record.message_id = text_at(fields, 2);
    record.cost_ms = number_at(fields, 3);
    record.is_success = text_at(fields, 4) == "true";
    record.keys = text_at(fields, 5);
    record.context_code = static_cast<std::int32_t>(number_at(fields, 6));
    record.at_ms = number_at(fields, 7);
    record.group = text_at(fields, 8);
    return record;
}

TraceRecord end_of(const Fields& fields) {
    TraceRecord record;
    record.kind = TraceRecord::Kind::kEndTransaction;
    record.at_ms = number_at(fields, 1);
    record.region = text_at(fields, 2);
    record.group = text_at(fields, 3);
    record.topic = text_at(fields, 4);
    record.message_id = text_at(fields, 5);
    record.tags = text_at(fields, 6);
    record.keys = text_at(fields, 7);
    record.store_host = text_at(fields, 8);
    record.message_type = static_cast<std::int32_t>(number_at(fields, 9));
    record.transaction_state = text_at(fields, 11);
    return record;
}

void append_pub(std::string& out, const TraceRecord& record) {
    append_fields(out,
                  {"Pub",
                   std::to_string(record.at_ms),
                   record.region,
                   record.group,
                   record.topic,
                   record.message_id,
                   record.tags,
                   record.keys,
                   record.store_host,
                   std::to_string(record.body_bytes),
                   std::to_string(record.cost_ms),
                   std::to_string(record.message_type),
                   record.offset_message_id,
                   bool_text(record.is_success)});
}

void append_before(std::string& out, const TraceRecord& record) {
    append_fields(out,
                  {"SubBefore",
                   std::to_string(record.at_ms),
                   record.region,
                   record.group,
                   record.request_id,
                   record.message_id,
                   std::to_string(record.retries),
                   record.keys});
}

void append_after(std::string& out, const TraceRecord& record) {
    append_fields(out,
                  {"SubAfter",
                   record.request_id,
                   record.message_id,
                   std::to_string(record.cost_ms),
                   bool_text(record.is_success),
                   record.keys,
                   std::to_string(record.context_code),
                   std::to_string(record.at_ms),
                   record.group});
}

void append_end(std::string& out, const TraceRecord& record) {
    append_fields(out,
                  {"EndTransaction",
                   std::to_string(record.at_ms),
                   record.region,
                   record.group,
                   record.topic,
                   record.message_id,
                   record.tags,
                   record.keys,
                   record.store_host,
                   std::to_string(record.message_type),
                   record.message_id,
                   record.transaction_state,
                   "false"});
}

}  // namespace

void append_trace(std::string& out, const TraceRecord& record) {
    switch (record.kind) {
        case TraceRecord::Kind::kPub:
            append_pub(out, record);
            return;
        case TraceRecord::Kind::kSubBefore:
            append_before(out, record);
            return;
        case TraceRecord::Kind::kSubAfter:
            append_after(out, record);
            return;
        case TraceRecord::Kind::kEndTransaction:
            append_end(out, record);
            return;
    }
}

std::vector<TraceRecord> parse_traces(std::string_view body) {
    std::vector<TraceRecord> records;
    while (!body.empty()) {
        const std::size_t end = std::min(body.find(kRecordEnd), body.size());
        const Fields fields = split(body.substr(0, end));
        if (fields[0] == "Pub" && fields.size() >= 12) {
            records.push_back(pub_of(fields));
        } else if (fields[0] == "SubBefore" && fields.size() >= 6) {
            records.push_back(before_of(fields));
        } else if (fields[0] == "SubAfter" && fields.size() >= 5) {
            records.push_back(after_of(fields));
        } else if (fields[0] == "EndTransaction" && fields.size() >= 12) {
            records.push_back(end_of(fields));
        }
        body.remove_prefix(std::min(end + 1, body.size()));
    }
    return records;
}

bool is_traced(std::string_view message_id, double sample) noexcept {
    constexpr double kHashes = 18'446'744'073'709'551'616.0;  // 2^64
    return sample >= 1.0 || (sample > 0.0 && !message_id.empty() &&
                             static_cast<double>(xxh3(as_bytes(message_id))) < sample * kHashes);
}

}  // namespace gantry::client
