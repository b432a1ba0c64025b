// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/import/import_plan.h"
#include "storage/import/import_source.h"
#include "storage/store.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gantry::storage {

/// What reading an imported store back has shown.
struct ImportVerification {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::map<std::string, std::uint64_t> by_topic;  ///< messages read back
    std::uint64_t differences_total = 0;
    std::vector<std::string> differences;  ///< the first kDifferencesMax

    static constexpr std::size_t kDifferencesMax = 100;
};

/// Reads every message of every queue through `store` and compares its bytes with those the source
/// has at the same log offset, the number of each queue's messages with the source's, and topics,
/// groups and offsets with the plan.
///
/// Threads   one; blocks on the disk.
/// Errors    kIo: the disk fails. Differences are no errors but counted.
Result<ImportVerification> verify_import(Store& store,
                                         const ImportSource& source,
                                         const ImportPlan& plan,
                                         const ImportProgress& on_progress);

}  // namespace gantry::storage
