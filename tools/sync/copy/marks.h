// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/copy/copy_producer.h"
#include "client/message.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::sync {

/// Properties that travel with a copied message.
///
///   GANTRY_ORIGIN   the cluster in which it was first sent
///   GANTRY_HOPS     all clusters it was in before this one, oldest first, with commas
///   GANTRY_FROM     <topic>/<broker>/<queue>/<offset> in the last of them
///   GANTRY_ROUTE    the route's name, where the target knows no numbers: only the route's own
///                   copies say how far it is there
namespace mark {
inline constexpr std::string_view kOrigin = "GANTRY_ORIGIN";
inline constexpr std::string_view kHops = "GANTRY_HOPS";
inline constexpr std::string_view kFrom = "GANTRY_FROM";
inline constexpr std::string_view kRoute = "GANTRY_ROUTE";
}  // namespace mark

/// Where a copied message was read.
struct CopiedFrom {
    client::QueueId queue;
    std::int64_t offset = 0;
};

/// Whether a message found in cluster `from` may go to cluster `to`: not where it has been before.
/// `local_only`: not when it came to `from` by a copy at all.
bool may_go(const client::MessageView& message,
            std::string_view from,
            std::string_view to,
            bool local_only);

/// Whether the last cluster a message was in before is `cluster`.
bool came_from(const client::MessageView& message, std::string_view cluster) noexcept;

/// The message as it is sent to `target_topic`, with its marks. What brokers have entered, or would
/// act on once more, stays behind; born time and host are those of the first send, also where a
/// cluster in between kept them as properties.
client::CopiedMessage copy_of(const client::MessageView& message,
                              std::string_view from,
                              const client::QueueId& queue,
                              const std::string& target_topic);

/// Reads GANTRY_FROM; nothing when it is not of that form.
std::optional<CopiedFrom> parse_from(std::string_view text);
/// Writes GANTRY_FROM.
std::string format_from(const CopiedFrom& from);

/// What messages of one key have in common: __SHARDINGKEY, else the first key; empty: no key.
std::string_view key_of(const client::MessageView& message) noexcept;

/// The number by which a target tells the copies of one source queue by one route from others.
std::uint64_t stream_of(std::string_view route,
                        std::string_view from,
                        const client::QueueId& queue);

}  // namespace gantry::sync
