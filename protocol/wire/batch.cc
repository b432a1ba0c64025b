// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/batch.h"

#include <optional>

namespace gantry::wire {
namespace {

constexpr std::size_t kElementFixedBytes = 22;

Error bad_element(std::size_t index, std::size_t position, std::size_t remaining) {
    return Error{Errc::kCorrupt,
                 "batch element " + std::to_string(index) + " at byte " + std::to_string(position) +
                     ": lengths do not add up, " + std::to_string(remaining) + " B left"};
}

// The element that fills `bytes` but for its size word; nothing when its lengths do not add up.
std::optional<BatchElement> parse_element(Bytes bytes) {
    ByteReader reader(bytes);
    reader.take(8);  // magic and CRC, zero on the wire
    BatchElement element;
    element.flag = reader.read<std::int32_t>();
    const auto body_bytes = reader.read<std::int32_t>();
    if (body_bytes < 0) {
        return std::nullopt;
    }
    element.body = reader.take(static_cast<std::size_t>(body_bytes));
    const auto properties_bytes = reader.read<std::int16_t>();
    if (properties_bytes < 0) {
        return std::nullopt;
    }
    element.properties = as_text(reader.take(static_cast<std::size_t>(properties_bytes)));
    if (reader.failed() || reader.remaining() != 0) {
        return std::nullopt;
    }
    return element;
}

}  // namespace

Result<std::vector<BatchElement>> parse_batch(Bytes bytes, std::uint32_t count_max) {
    std::vector<BatchElement> elements;
    for (std::size_t position = 0; position < bytes.size();) {
        if (elements.size() == count_max) {
            return Error{Errc::kRefused,
                         "batch of more than " + std::to_string(count_max) + " messages"};
        }
        const Bytes rest = bytes.subspan(position);
        const auto size = static_cast<std::size_t>(ByteReader(rest).read<std::uint32_t>());
        if (size < kElementFixedBytes || size > rest.size()) {
            return bad_element(elements.size(), position, rest.size());
        }
        const auto element =
            parse_element(rest.subspan(sizeof(std::uint32_t), size - sizeof(std::uint32_t)));
        if (!element) {
            return bad_element(elements.size(), position, rest.size());
        }
        elements.push_back(*element);
        position += size;
    }
    return elements;
}

void append_batch_element(std::string& out, const BatchElement& element) {
    const std::size_t size = kElementFixedBytes + element.body.size() + element.properties.size();
    const std::size_t start = out.size();
    out.resize(start + kElementFixedBytes - 2);
    auto* const at = reinterpret_cast<std::byte*>(out.data() + start);
    store_be(at, static_cast<std::int32_t>(size));
    store_be(at + 4, std::int64_t{0});
    store_be(at + 12, element.flag);
    store_be(at + 16, static_cast<std::int32_t>(element.body.size()));
    out.append(as_text(element.body));
    std::byte length[2];
    store_be(length, static_cast<std::int16_t>(element.properties.size()));
    out.append(as_text(length)).append(element.properties);
}

}  // namespace gantry::wire
