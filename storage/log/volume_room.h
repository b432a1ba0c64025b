// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace gantry::storage {

/// One volume that holds segments.
struct VolumeRoom {
    std::filesystem::path directory{};
    std::uint64_t log_bytes = 0;   ///< of segments on it
    std::uint64_t free_bytes = 0;  ///< of the volume
};

/// What of a volume the log may take.
struct VolumeLimits {
    std::uint64_t log_bytes_max = 0;   ///< 0: no limit
    std::uint64_t free_bytes_min = 0;  ///< left for others
};

/// Bytes the log may still grow by on that volume.
std::uint64_t room_left(const VolumeRoom& volume, const VolumeLimits& limits);
/// How much of the log's room on that volume is taken, 0 to 100.
std::uint32_t percent_taken(const VolumeRoom& volume, const VolumeLimits& limits);

/// The one of `volumes`, which are not none, with the most room left.
const VolumeRoom& roomiest(const std::vector<VolumeRoom>& volumes, const VolumeLimits& limits);

}  // namespace gantry::storage
