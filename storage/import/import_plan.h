// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/import.pb.h"
#include "protocol/wire/state.pb.h"
#include "storage/import/import_source.h"
#include "storage/import/rocketmq_config.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gantry::storage {

/// A topic that is carried over.
struct ImportedTopic {
    std::string name;
    std::int32_t queues = 0;  ///< the larger of its read and write queues
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    bool is_from_log = false;  ///< topics.json does not list it; its definition is a guess
};

/// What becomes of a source: state records, the mark for recovery, and what people are told.
struct ImportPlan {
    wire::ImportedLog mark;
    std::vector<wire::StateChange> changes;
    std::vector<ImportedTopic> topics;
    std::uint64_t groups = 0;
    std::uint64_t offsets = 0;
    std::map<std::int32_t, std::uint64_t> delayed;  ///< messages still to deliver, by level
    std::vector<ImportNote> warnings;
    std::vector<ImportNote> not_carried;
};

/// Decides. Pure: everything it knows is in `source`.
ImportPlan plan_import(const ImportSource& source);

}  // namespace gantry::storage
