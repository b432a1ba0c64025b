// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "tests/chaos/history/checker.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace gantry::chaos {

/// Where the log files of two or more stores differ below log offset `end`; empty: nowhere. What
/// only some of them still have, because others delete earlier, is not compared. The stores may be
/// in use: bytes below `end` do not change.
/// kNotFound: a store without log files, or nothing that all have. kIo.
Result<std::string> log_difference(const std::vector<std::filesystem::path>& stores,
                                   std::int64_t end);

/// The epochs that the log of a store tells of, ascending; their masters by replication.member.
/// Blocks; the store may be in use.
Result<std::vector<EpochMark>> epochs_of(const std::filesystem::path& store);

}  // namespace gantry::chaos
