// SPDX-License-Identifier: Apache-2.0
#include "storage/log/volume_room.h"

#include <algorithm>

namespace gantry::storage {

std::uint64_t room_left(const VolumeRoom& volume, const VolumeLimits& limits) {
    std::uint64_t left = volume.free_bytes - std::min(volume.free_bytes, limits.free_bytes_min);
    if (limits.log_bytes_max > 0) {
        left =
            std::min(left, limits.log_bytes_max - std::min(limits.log_bytes_max, volume.log_bytes));
    }
    return left;
}

std::uint32_t percent_taken(const VolumeRoom& volume, const VolumeLimits& limits) {
    const std::uint64_t left = room_left(volume, limits);
    if (left == 0) {
        return 100;
    }
    const double all = static_cast<double>(volume.log_bytes) + static_cast<double>(left);
    return static_cast<std::uint32_t>(100.0 * static_cast<double>(volume.log_bytes) / all);
}

const VolumeRoom& roomiest(const std::vector<VolumeRoom>& volumes, const VolumeLimits& limits) {
    return *std::max_element(
        volumes.begin(), volumes.end(), [&limits](const VolumeRoom& a, const VolumeRoom& b) {
            return room_left(a, limits) < room_left(b, limits);
        });
}

}  // namespace gantry::storage
