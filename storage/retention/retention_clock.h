// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>

namespace gantry::storage {

/// The time by which messages expire: the wall clock, unless that has jumped ahead. However it
/// jumps, this one goes at most four times as fast as time itself, so that a wrong clock deletes
/// little before somebody sees the alarm; a clock that jumps back is followed at once.
///
/// Threads   one.
class RetentionClock {
public:
    static constexpr std::int64_t kSpeedMax = 4;

    /// `wall`: now. `before`: what it said last, before a stop of unknown length, if anything;
    /// believed to have been `slack_ms` ago at most.
    RetentionClock(WallMs wall, std::optional<WallMs> before, std::int64_t slack_ms) noexcept;

    /// Goes on by `elapsed` of a clock that does not jump.
    WallMs advance(WallMs wall, std::chrono::milliseconds elapsed) noexcept;

    WallMs now() const noexcept { return now_; }

private:
    WallMs now_;
};

/// Makes `now` of a retention clock durable. Errors of the disk.
Status save_retention_clock(FileSystem& files, const std::filesystem::path& path, WallMs now);

/// A clock that goes on from what was saved; from the wall clock when nothing was, or it is
/// damaged.
RetentionClock load_retention_clock(FileSystem& files,
                                    const std::filesystem::path& path,
                                    WallMs wall,
                                    std::int64_t slack_ms);

}  // namespace gantry::storage
