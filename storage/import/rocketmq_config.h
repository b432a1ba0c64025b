// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/state.pb.h"
#include "protocol/wire/topic.pb.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace gantry::storage {

/// Something of the source that stays behind or changed on the way, for people.
struct ImportNote {
    std::string what{};
    std::uint64_t count = 1;
    std::string why{};
};

/// What RocketMQ keeps beside its log, in config/*.json as fastjson writes them.
struct RocketMqConfig {
    std::map<std::string, wire::TopicConfig, std::less<>> topics;
    std::map<std::string, wire::SubscriptionGroupConfig, std::less<>> groups;
    std::vector<wire::OffsetPut> offsets;
    std::map<std::int32_t, std::int64_t> delay_offsets;  ///< by level, from 1
    bool has_topics = false;                             ///< topics.json or its copy was readable
    bool has_delay_offsets = false;
    std::vector<ImportNote> warnings;     ///< files that are missing or damaged
    std::vector<ImportNote> not_carried;  ///< settings that Gantry has no place for
};

/// Reads the files of `directory`; each has a `.bak` beside it, which is taken when it is missing,
/// empty or does not parse. What neither gives is a warning, never an error.
///
/// Threads   any; blocks on the disk.
/// Errors    kIo: the disk does not give a file that is there.
Result<RocketMqConfig> load_rocketmq_config(FileSystem& files,
                                            const std::filesystem::path& directory);

}  // namespace gantry::storage
