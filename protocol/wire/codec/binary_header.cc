// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/binary_header.h"

#include "protocol/wire/codec/ext_fields.h"

namespace gantry::wire {
namespace {

constexpr std::size_t kNumbersBytes = 13;
constexpr std::size_t kFixedBytes = 21;
constexpr std::uint32_t kResponseBit = 1;
constexpr std::uint32_t kOnewayBit = 2;

Error bad_lengths(std::string_view what, std::int64_t length, std::size_t header_bytes) {
    return Error{Errc::kCorrupt,
                 "binary header of " + std::to_string(header_bytes) + " B: " + std::string(what) +
                     " length " + std::to_string(length) + " does not add up"};
}

// A byte string behind a signed length of type T; fails the reader when it is negative.
template <class T>
std::string_view take_text(ByteReader& reader) noexcept {
    const T length = reader.read<T>();
    return as_text(reader.take(static_cast<std::size_t>(length)));
}

template <class T>
void append_be(std::string& out, T value) {
    std::byte bytes[sizeof(T)];
    store_be(bytes, value);
    out.append(as_text(bytes));
}

void append_entry(std::string& out, std::string_view name, std::string_view value) {
    append_be(out, static_cast<std::int16_t>(name.size()));
    out.append(name);
    append_be(out, static_cast<std::int32_t>(value.size()));
    out.append(value);
}

Status decode_ext(Bytes bytes, Header& header) {
    ByteReader reader(bytes);
    while (reader.remaining() > 0) {
        if (header.ext.size() == kExtFieldsMax) {
            return Error{
                Errc::kCorrupt,
                "binary header of more than " + std::to_string(kExtFieldsMax) + " extFields"};
        }
        const std::string_view name = take_text<std::int16_t>(reader);
        const std::string_view value = take_text<std::int32_t>(reader);
        if (reader.failed()) {
            return bad_lengths(
                "an extFields entry's", static_cast<std::int64_t>(bytes.size()), bytes.size());
        }
        header.ext.push_back({name, value});
    }
    return ok();
}

}  // namespace

Status decode_binary_header(Bytes bytes, Header& header) {
    if (bytes.size() < kFixedBytes) {
        return bad_lengths(
            "the fixed part's", static_cast<std::int64_t>(kFixedBytes), bytes.size());
    }
    ByteReader reader(bytes);
    header.code = reader.read<std::int16_t>();
    const auto language = reader.read<std::uint8_t>();
    header.language = language <= static_cast<std::uint8_t>(Language::kNodeJs)
                          ? static_cast<Language>(language)
                          : Language::kUnknown;
    header.version = reader.read<std::int16_t>();
    header.opaque = reader.read<std::int32_t>();
    header.has_opaque = true;
    const auto flag = reader.read<std::uint32_t>();
    header.is_response = (flag & kResponseBit) != 0;
    header.is_oneway = (flag & kOnewayBit) != 0;
    const auto remark_bytes = reader.read<std::int32_t>();
    header.remark = as_text(reader.take(static_cast<std::size_t>(remark_bytes)));
    const auto ext_bytes = reader.read<std::int32_t>();
    if (remark_bytes < 0 || reader.failed()) {
        return bad_lengths("remark", remark_bytes, bytes.size());
    }
    const Bytes ext = reader.take(static_cast<std::size_t>(ext_bytes));
    if (ext_bytes < 0 || reader.failed() || reader.remaining() > 0) {
        return bad_lengths("extFields", ext_bytes, bytes.size());
    }
    return decode_ext(ext, header);
}

void append_binary_head(std::string& out, const HeaderToSend& header, std::size_t body_bytes) {
    const std::size_t start = out.size();
    out.resize(start + kFramePrefixBytes + kNumbersBytes);
    auto* const at = reinterpret_cast<std::byte*>(out.data() + start + kFramePrefixBytes);
    const std::uint32_t flag =
        (header.is_response ? kResponseBit : 0) | (header.is_oneway ? kOnewayBit : 0);
    store_be(at, static_cast<std::int16_t>(header.code));
    store_be(at + 2, static_cast<std::uint8_t>(header.language));
    store_be(at + 3, static_cast<std::int16_t>(header.version));
    store_be(at + 5, header.opaque);
    store_be(at + 9, flag);
    append_be(out, static_cast<std::int32_t>(header.remark.size()));
    out.append(header.remark);
    const std::size_t length_at = out.size();
    append_be(out, std::int32_t{0});
    if (header.fields != nullptr) {
        append_ext(out, *header.fields, header.short_names, append_entry);
    }
    const std::size_t ext_bytes = out.size() - length_at - sizeof(std::int32_t);
    auto* const length = reinterpret_cast<std::byte*>(out.data() + length_at);
    store_be(length, static_cast<std::int32_t>(ext_bytes));
    write_frame_prefix(reinterpret_cast<std::byte*>(out.data() + start),
                       Codec::kBinary,
                       out.size() - start - kFramePrefixBytes,
                       body_bytes);
}

}  // namespace gantry::wire
