// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/native_header.h"

#include "common/check.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wire_format_lite.h>

#include <limits>

namespace gantry::wire {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

// Tags of NativeHeader in protocol/wire/schema/header.proto: number and wire type.
constexpr std::uint32_t tag_of(std::uint32_t number, std::uint32_t wire_type) noexcept {
    return (number << 3U) | wire_type;
}

constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kFixed64 = 1;
constexpr std::uint32_t kDelimited = 2;
constexpr std::uint32_t kFixed32 = 5;

constexpr std::uint32_t kCodeTag = tag_of(1, kVarint);
constexpr std::uint32_t kOpaqueTag = tag_of(2, kFixed32);
constexpr std::uint32_t kFlagTag = tag_of(3, kVarint);
constexpr std::uint32_t kLanguageTag = tag_of(4, kVarint);
constexpr std::uint32_t kVersionTag = tag_of(5, kVarint);
constexpr std::uint32_t kRemarkTag = tag_of(6, kDelimited);
constexpr std::uint32_t kFieldsTag = tag_of(7, kDelimited);

constexpr std::uint32_t kResponseBit = 1;
constexpr std::uint32_t kOnewayBit = 2;

// Reads the parts of a Protocol Buffers message; a read past the end fails for good.
class ProtoReader {
public:
    explicit ProtoReader(Bytes bytes) noexcept
        : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

    bool at_end() const noexcept { return at_ == end_; }

    bool failed() const noexcept { return failed_; }

    std::uint64_t varint() noexcept {
        std::uint64_t value = 0;
        for (std::uint32_t shift = 0; shift < 64 && at_ != end_; shift += 7) {
            const auto byte = std::to_integer<std::uint64_t>(*at_++);
            value |= (byte & 0x7FU) << shift;
            if (byte < 0x80) {
                return value;
            }
        }
        fail();
        return 0;
    }

    std::uint32_t varint32() noexcept { return static_cast<std::uint32_t>(varint()); }

    std::uint32_t fixed32() noexcept {
        const Bytes bytes = take(sizeof(std::uint32_t));
        std::uint32_t value = 0;
        if (!bytes.empty()) {
            std::memcpy(&value, bytes.data(), sizeof(value));
        }
        return value;
    }

    Bytes take(std::uint64_t count) noexcept {
        if (static_cast<std::uint64_t>(end_ - at_) < count) {
            fail();
            return {};
        }
        const Bytes view(at_, static_cast<std::size_t>(count));
        at_ += count;
        return view;
    }

    Bytes delimited() noexcept { return take(varint()); }

    void skip(std::uint32_t tag) noexcept {
        switch (tag & 7U) {
            case kVarint:
                varint();
                return;
            case kFixed64:
                take(8);
                return;
            case kDelimited:
                delimited();
                return;
            case kFixed32:
                take(4);
                return;
            default:
                fail();
        }
    }

private:
    void fail() noexcept {
        failed_ = true;
        at_ = end_;
    }

    const std::byte* at_;
    const std::byte* end_;
    bool failed_ = false;
};

std::int32_t zigzag_decoded(std::uint32_t value) noexcept {
    return WireFormatLite::ZigZagDecode32(value);
}

Language language_of(std::uint32_t number) noexcept {
    return number <= static_cast<std::uint32_t>(Language::kNodeJs) ? static_cast<Language>(number)
                                                                   : Language::kUnknown;
}

void decode_field(std::uint32_t tag, ProtoReader& reader, Header& header) noexcept {
    switch (tag) {
        case kCodeTag:
            header.code = zigzag_decoded(reader.varint32());
            return;
        case kOpaqueTag:
            header.opaque = static_cast<std::int32_t>(reader.fixed32());
            header.has_opaque = !reader.failed();
            return;
        case kFlagTag: {
            const std::uint32_t flag = reader.varint32();
            header.is_response = (flag & kResponseBit) != 0;
            header.is_oneway = (flag & kOnewayBit) != 0;
            return;
        }
        case kLanguageTag:
            header.language = language_of(reader.varint32());
            return;
        case kVersionTag:
            header.version = static_cast<std::int32_t>(reader.varint32());
            return;
        case kRemarkTag:
            header.remark = as_text(reader.delimited());
            return;
        case kFieldsTag:
            header.fields = reader.delimited();
            return;
        default:
            reader.skip(tag);
    }
}

// The header's numbers in wire form; zero means "not written", as in proto3.
struct Numbers {
    explicit Numbers(const HeaderToSend& header) noexcept
        : code(WireFormatLite::ZigZagEncode32(header.code)),
          opaque(static_cast<std::uint32_t>(header.opaque)),
          flag((header.is_response ? kResponseBit : 0) | (header.is_oneway ? kOnewayBit : 0)),
          language(static_cast<std::uint32_t>(header.language)),
          version(static_cast<std::uint32_t>(header.version)) {}

    std::size_t bytes() const noexcept {
        return varint_bytes(code) + (opaque != 0 ? 5 : 0) + varint_bytes(flag) +
               varint_bytes(language) + varint_bytes(version);
    }

    static std::size_t varint_bytes(std::uint32_t value) noexcept {
        return value != 0 ? 1 + CodedOutputStream::VarintSize32(value) : 0;
    }

    std::uint32_t code;
    std::uint32_t opaque;
    std::uint32_t flag;
    std::uint32_t language;
    std::uint32_t version;
};

std::size_t delimited_bytes(std::size_t size) noexcept {
    return size != 0 ? 1 + CodedOutputStream::VarintSize32(static_cast<std::uint32_t>(size)) + size
                     : 0;
}

std::uint8_t* write_varint(std::uint32_t tag, std::uint32_t value, std::uint8_t* at) noexcept {
    if (value == 0) {
        return at;
    }
    *at++ = static_cast<std::uint8_t>(tag);
    return CodedOutputStream::WriteVarint32ToArray(value, at);
}

std::uint8_t* write_numbers(const Numbers& numbers, std::uint8_t* at) noexcept {
    at = write_varint(kCodeTag, numbers.code, at);
    if (numbers.opaque != 0) {
        *at++ = static_cast<std::uint8_t>(kOpaqueTag);
        at = CodedOutputStream::WriteLittleEndian32ToArray(numbers.opaque, at);
    }
    at = write_varint(kFlagTag, numbers.flag, at);
    at = write_varint(kLanguageTag, numbers.language, at);
    return write_varint(kVersionTag, numbers.version, at);
}

}  // namespace

Status decode_native_header(Bytes bytes, Header& header) {
    header.language = Language::kJava;
    ProtoReader reader(bytes);
    while (!reader.at_end()) {
        const std::uint64_t tag = reader.varint();
        if (tag < 8 || tag > std::numeric_limits<std::uint32_t>::max()) {
            return Error{Errc::kCorrupt, "native header: tag " + std::to_string(tag)};
        }
        decode_field(static_cast<std::uint32_t>(tag), reader, header);
    }
    if (reader.failed()) {
        return Error{Errc::kCorrupt,
                     "native header of " + std::to_string(bytes.size()) +
                         " B is no Protocol Buffers message"};
    }
    header.has_opaque = true;
    return ok();
}

void append_native_head(std::string& out, const HeaderToSend& header, std::size_t body_bytes) {
    const Numbers numbers(header);
    const std::size_t fields_bytes = header.fields != nullptr ? header.fields->ByteSizeLong() : 0;
    const std::size_t header_bytes =
        numbers.bytes() + delimited_bytes(header.remark.size()) + delimited_bytes(fields_bytes);
    const std::size_t start = out.size();
    out.resize(start + kFramePrefixBytes + header_bytes);
    auto* const prefix = reinterpret_cast<std::byte*>(out.data() + start);
    write_frame_prefix(prefix, Codec::kNative, header_bytes, body_bytes);
    auto* at = reinterpret_cast<std::uint8_t*>(prefix + kFramePrefixBytes);
    at = write_numbers(numbers, at);
    if (!header.remark.empty()) {
        at = write_varint(kRemarkTag, static_cast<std::uint32_t>(header.remark.size()), at);
        std::memcpy(at, header.remark.data(), header.remark.size());
        at += header.remark.size();
    }
    if (fields_bytes != 0) {
        at = write_varint(kFieldsTag, static_cast<std::uint32_t>(fields_bytes), at);
        at = header.fields->SerializeWithCachedSizesToArray(at);
    }
    GANTRY_ASSERT(at == reinterpret_cast<std::uint8_t*>(out.data() + out.size()));
}

}  // namespace gantry::wire
