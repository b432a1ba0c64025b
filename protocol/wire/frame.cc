// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/frame.h"

#include <string>

namespace gantry::wire {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kCodecAndHeaderBytes = 4;

Error bad_length(std::uint32_t length, const FrameLimits& limits) {
    return Error{Errc::kCorrupt,
                 "frame length " + std::to_string(length) + " is not within " +
                     std::to_string(kCodecAndHeaderBytes) + ".." +
                     std::to_string(limits.frame_bytes_max)};
}

Error bad_header_length(std::uint32_t header, std::uint32_t length, const FrameLimits& limits) {
    return Error{Errc::kCorrupt,
                 "header of " + std::to_string(header) + " B in a frame of length " +
                     std::to_string(length) + ", limit " + std::to_string(limits.header_bytes_max) +
                     " B"};
}

}  // namespace

Result<std::optional<FrameView>> find_frame(Bytes bytes, const FrameLimits& limits) {
    if (bytes.size() < kLengthBytes) {
        return std::optional<FrameView>();
    }
    const auto length = load_be<std::uint32_t>(bytes.data());
    if (length < kCodecAndHeaderBytes || length > limits.frame_bytes_max) [[unlikely]] {
        return bad_length(length, limits);
    }
    if (bytes.size() < kFramePrefixBytes) {
        return std::optional<FrameView>();
    }
    const auto word = load_be<std::uint32_t>(bytes.data() + kLengthBytes);
    const std::uint32_t codec = word >> 24U;
    const std::uint32_t header_bytes = word & 0xFF'FFFFU;
    if (codec > static_cast<std::uint32_t>(Codec::kNative)) [[unlikely]] {
        return Error{Errc::kCorrupt, "codec byte " + std::to_string(codec) + " is none of 0, 1, 2"};
    }
    if (header_bytes > length - kCodecAndHeaderBytes || header_bytes > limits.header_bytes_max)
        [[unlikely]] {
        return bad_header_length(header_bytes, length, limits);
    }
    const std::size_t frame_bytes = kLengthBytes + length;
    if (bytes.size() < frame_bytes) {
        return std::optional<FrameView>();
    }
    const std::size_t body_at = kFramePrefixBytes + header_bytes;
    return std::optional<FrameView>(
        FrameView{.codec = static_cast<Codec>(codec),
                  .header = bytes.subspan(kFramePrefixBytes, header_bytes),
                  .body = bytes.subspan(body_at, frame_bytes - body_at),
                  .frame_bytes = frame_bytes});
}

std::size_t frame_bytes_needed(Bytes bytes) noexcept {
    if (bytes.size() < kLengthBytes) {
        return kFramePrefixBytes;
    }
    return kLengthBytes + load_be<std::uint32_t>(bytes.data());
}

void write_frame_prefix(std::byte* at,
                        Codec codec,
                        std::size_t header_bytes,
                        std::size_t body_bytes) noexcept {
    store_be(at, static_cast<std::uint32_t>(kCodecAndHeaderBytes + header_bytes + body_bytes));
    store_be(at + kLengthBytes,
             static_cast<std::uint32_t>(header_bytes | (static_cast<std::size_t>(codec) << 24U)));
}

}  // namespace gantry::wire
