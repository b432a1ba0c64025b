// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/histogram.h"
#include "bench/options.h"

#include <cstdint>
#include <string>

namespace gantry::bench {

/// What a run came to.
struct Report {
    std::uint64_t messages = 0;  ///< acknowledged (produce), received (consume, e2e)
    std::uint64_t bytes = 0;     ///< of their bodies
    double seconds = 0;
    Histogram latency;       ///< nanoseconds: of sends (produce), end to end (e2e)
    Histogram send_latency;  ///< e2e only
    std::uint64_t acked = 0;
    std::uint64_t lost = 0;          ///< acknowledged or stored, but never seen
    std::uint64_t lost_told = 0;     ///< of what was stored: the client said that it is lost
    std::uint64_t duplicates = 0;    ///< seen again
    std::uint64_t out_of_order = 0;  ///< behind a later message of its producer in its queue
    std::uint64_t offset_gaps = 0;   ///< jumps in a queue's offsets
    std::uint64_t failed = 0;        ///< sends refused: not stored
    std::uint64_t unknown = 0;       ///< sends with unknown outcome
    std::uint64_t checksum = 0;      ///< of the set of messages
    std::uint64_t checksum_expected = 0;
    std::string first_error;

    /// Nothing lost, nothing out of order, checksums agree, nothing failed.
    bool good() const noexcept;
};

/// For people.
std::string text_of(const Options& options, const Report& report);
/// One line of JSON.
std::string json_of(const Options& options, const Report& report);

}  // namespace gantry::bench
