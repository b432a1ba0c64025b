// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>

namespace gantry::client {

/// How a producer compresses the bodies it sends. Brokers store and deliver them as they are;
/// consumers, stock ones too, decompress them.
///
///   kZlib   every stock client reads it
///   kLz4    fastest; stock clients from 4.9.4 on
///   kZstd   smallest for its time; stock clients from 4.9.4 on
///
/// A body that would not get smaller is sent as it is.
///
/// Threads   in the thread that sends: compressing takes its time, not the client's loops', but
///           for what is sent from within a callback.
struct Compression {
    /// The way, see above.
    enum class Method : std::uint8_t { kNone, kZlib, kLz4, kZstd };

    Method method = Method::kNone;
    std::uint32_t body_bytes_min = 4'096;  ///< smaller bodies are sent as they are
    /// The library's own scale, higher is smaller and slower: zlib 1..9, LZ4 0..12, zstd 1..19; -1:
    /// the library's default.
    std::int32_t level = -1;
};

/// kRefused: a level that the method does not have.
Status check_compression(const Compression& compression);

}  // namespace gantry::client
