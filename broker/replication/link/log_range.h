// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "storage/store.h"

#include <cstdint>
#include <optional>
#include <string>

namespace gantry::broker {

inline constexpr std::int64_t kRangeBytesMax = std::int64_t{4} << 20;

/// What is answered to who asks for log bytes, made where it may block.
struct RangeAnswer {
    std::optional<wire::ReplicaFrame> fields;
    Result<std::string> body = std::string();
};

/// Reads what is asked for from this broker's log. kRefused: a length outside (0, kRangeBytesMax],
/// or bytes that are not durable here. kConflict: the histories differ below the end of the range.
/// kNotFound: deleted. kCorrupt: damaged here too. Blocks on the disk.
RangeAnswer read_range(storage::Store& store, const wire::LogRangeRequest& request);

}  // namespace gantry::broker
