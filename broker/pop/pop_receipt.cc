// SPDX-License-Identifier: Apache-2.0
#include "broker/pop/pop_receipt.h"

#include <array>
#include <charconv>
#include <cstddef>

namespace gantry::broker {
namespace {

constexpr std::size_t kFieldsMin = 7;
constexpr std::size_t kPopTimeAt = 1;
constexpr std::size_t kQueueAt = 6;

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> fields;
    while (true) {
        const std::size_t end = text.find(separator);
        fields.push_back(text.substr(0, end));
        if (end == std::string_view::npos) {
            return fields;
        }
        text.remove_prefix(end + 1);
    }
}

template <class Number>
Status parse_number(std::string_view field, std::string_view name, Number& number) {
    const char* const end = field.data() + field.size();
    const auto parsed = std::from_chars(field.data(), end, number);
    if (parsed.ec != std::errc{} || parsed.ptr != end) {
        return Error{Errc::kRefused,
                     "extraInfo: " + std::string(name) + " '" + std::string(field.substr(0, 32)) +
                         "' is no number"};
    }
    return ok();
}

std::string info_head(bool is_retry, std::int32_t queue_id) {
    return (is_retry ? "1 " : "0 ") + std::to_string(queue_id) + ' ';
}

/// -1: no digit of base64.
int base64_digit(char c) noexcept {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+') {
        return 62;
    }
    return c == '/' ? 63 : -1;
}

Result<std::vector<std::uint8_t>> decode_base64(std::string_view text) {
    while (!text.empty() && text.back() == '=') {
        text.remove_suffix(1);
    }
    std::vector<std::uint8_t> bytes;
    bytes.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        const int digit = base64_digit(c);
        if (digit < 0) {
            return Error{Errc::kRefused,
                         "bit set: character " + std::to_string(c) + " is none of base64"};
        }
        bits = (bits << 6U) | static_cast<std::uint32_t>(digit);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes.push_back(static_cast<std::uint8_t>((bits >> count) & 0xFFU));
        }
    }
    return bytes;
}

}  // namespace

Result<PopReceipt> parse_receipt(std::string_view extra_info) {
    const std::vector<std::string_view> fields = split(extra_info, ' ');
    if (fields.size() < kFieldsMin) {
        return Error{Errc::kRefused,
                     "extraInfo has " + std::to_string(fields.size()) + " fields < " +
                         std::to_string(kFieldsMin)};
    }
    PopReceipt receipt;
    GANTRY_TRY(parse_number(fields[kPopTimeAt], "popTime", receipt.pop_ms));
    GANTRY_TRY(parse_number(fields[kQueueAt], "queueId", receipt.queue_id));
    return receipt;
}

std::string start_offset_info(bool is_retry, std::int32_t queue_id, QueueOffset first) {
    return info_head(is_retry, queue_id) + std::to_string(first.value);
}

std::string message_offset_info(bool is_retry,
                                std::int32_t queue_id,
                                const std::vector<storage::OffsetSpan>& spans) {
    std::string info = info_head(is_retry, queue_id);
    for (const storage::OffsetSpan& span : spans) {
        for (QueueOffset at = span.from; at < span.end; at += 1) {
            info += std::to_string(at.value) + ',';
        }
    }
    info.pop_back();
    return info;
}

Result<std::vector<storage::OffsetSpan>> parse_ack_bits(std::string_view base64,
                                                        QueueOffset start) {
    if (base64.size() * 6 > kAckBitsMax) {
        return Error{Errc::kRefused,
                     "bit set of " + std::to_string(base64.size() * 6) + " bits > " +
                         std::to_string(kAckBitsMax)};
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::uint8_t> bytes, decode_base64(base64));
    std::vector<storage::OffsetSpan> spans;
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        if (((static_cast<unsigned>(bytes[bit / 8]) >> (bit % 8)) & 1U) == 0) {
            continue;
        }
        const QueueOffset at = start + static_cast<std::int64_t>(bit);
        if (!spans.empty() && spans.back().end == at) {
            spans.back().end += 1;
        } else {
            spans.push_back({at, at + 1});
        }
    }
    return spans;
}

}  // namespace gantry::broker
