// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/compression.h"
#include "client/consumer.h"
#include "client/message_selector.h"
#include "common/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::sync {

/// How source queues map to target queues.
///
///   kSame    every source queue to one target queue, in order
///   kByKey   each message by its key (__SHARDINGKEY, else its first key, else its source queue)
enum class QueueMapping : std::uint8_t { kSame, kByKey };

/// What a route does about messages that cannot be copied: gone at the source before they were
/// read, or refused by the target.
///
///   kStop       their queue stands, with an alarm, until the file says otherwise
///   kContinue   they are counted, logged, and passed over
enum class OnLoss : std::uint8_t { kStop, kContinue };

/// One route: topics of one cluster that are copied to another. The file's keys are described in
/// docs/guide/cross-idc.md.
struct RouteConfig {
    std::string name;
    std::string from;  ///< clusters, by their name in the file
    std::string to;
    std::vector<std::string> topics;  ///< names, or patterns with * and ?
    std::vector<std::string> exclude;
    client::MessageSelector filter;
    std::string rename = "{topic}";
    client::StartFrom start;
    QueueMapping queues = QueueMapping::kSame;
    OnLoss on_loss = OnLoss::kStop;
    bool create_topics = true;
    bool local_only = false;            ///< only what was first sent in `from`
    std::int64_t bytes_per_second = 0;  ///< 0: no limit
    std::int64_t messages_per_second = 0;
    client::Compression compression;
    std::int64_t parallelism = 1;  ///< threads and connections
    std::int64_t frame_bytes = std::int64_t{1} << 20U;
    std::int64_t window_bytes = std::int64_t{32} << 20U;  ///< unanswered, of one source queue
    std::int64_t pull_bytes = std::int64_t{4} << 20U;
    std::int64_t timeout_ms = 10'000;        ///< of a request to the target
    std::vector<std::string> mirror_groups;  ///< whose offsets follow to the target
    std::int64_t mirror_seconds = 30;
    std::string text;  ///< all of it, to tell whether it has changed

    /// The topic that `topic` is copied to.
    std::string target_of(std::string_view topic) const;
    /// Whether the route copies the topic. System topics, those of groups for retries and dead
    /// letters, and those of replies, only by their full name.
    bool takes(std::string_view topic) const;
};

/// How to reach a cluster.
struct ClusterConfig {
    std::vector<std::string> nameservers;
    client::Dialect dialect = client::Dialect::kGantry;
};

/// All routes, and their clusters.
struct SyncConfig {
    std::map<std::string, ClusterConfig> clusters;
    std::vector<RouteConfig> routes;
};

/// Reads routes out of TOML. kRefused names the file, the line, the key and what is allowed.
Result<SyncConfig> parse_config(std::string_view text, const std::string& source);
/// The same, from a file. kNotFound, kIo.
Result<SyncConfig> load_config(const std::string& path);

/// Whether the whole of `name` fits a pattern with * (anything) and ? (one character).
bool fits(std::string_view pattern, std::string_view name) noexcept;

}  // namespace gantry::sync
