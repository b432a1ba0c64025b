// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"

#include <cstdint>
#include <optional>

namespace gantry::wire {

/// Who encoded the header of a frame. A reply goes out in the codec of its request.
enum class Codec : std::uint8_t {
    kJson = 0,    ///< stock RocketMQ clients, mqadmin
    kBinary = 1,  ///< stock clients that choose it
    kNative = 2,  ///< Protocol Buffers: Gantry's own programs
};

/// One whole frame inside a receive buffer.
///
///   u32 length | u8 codec, u24 header length | header | body        all big-endian;
///   length counts everything behind itself: 4 + header + body
///
/// Lifetime  the views last as long as the buffer they point into.
struct FrameView {
    Codec codec = Codec::kJson;
    Bytes header;
    Bytes body;
    std::size_t frame_bytes = 0;  ///< including the length word
};

/// What a receiver accepts before it allocates anything.
struct FrameLimits {
    std::uint32_t frame_bytes_max = std::uint32_t{16} << 20U;
    std::uint32_t header_bytes_max = std::uint32_t{256} << 10U;
};

inline constexpr std::size_t kFramePrefixBytes = 8;

/// The first frame of `bytes`; nothing when it is not complete yet. kCorrupt: unknown codec byte,
/// length below 4 or above the limit, header longer than the frame or its limit; detail has the
/// numbers. The connection is useless after that.
Result<std::optional<FrameView>> find_frame(Bytes bytes, const FrameLimits& limits);

/// Bytes the frame at the start of `bytes` needs in all; kFramePrefixBytes when even its prefix is
/// incomplete. Meaningful only where find_frame found no error.
std::size_t frame_bytes_needed(Bytes bytes) noexcept;

/// Writes the 8 prefix bytes of a frame.
void write_frame_prefix(std::byte* at,
                        Codec codec,
                        std::size_t header_bytes,
                        std::size_t body_bytes) noexcept;

}  // namespace gantry::wire
