// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/flow/token_bucket.h"
#include "common/mutex.h"
#include "protocol/wire/flow.pb.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gantry::broker {

struct BrokerOptions;

/// The four buckets of one topic, group, client or of the broker.
struct FlowBuckets {
    /// "topic T", for people.
    std::string whose;
    TokenBucket send_messages;
    TokenBucket send_bytes;
    TokenBucket deliver_messages;
    TokenBucket deliver_bytes;

    /// Takes the rates of `limit` over where they are others.
    void set(const wire::FlowLimit& limit) noexcept;
};

using FlowBucketsPtr = std::shared_ptr<FlowBuckets>;

/// All limits as of one change. Immutable, but for the levels of the buckets.
struct FlowTable {
    using ByName = std::unordered_map<std::string_view, FlowBucketsPtr>;  ///< by name below

    bool limits_sends = false;  ///< anybody's
    bool limits_deliveries = false;
    bool limits_clients = false;
    FlowBucketsPtr broker;
    ByName topics;
    ByName groups;
    wire::FlowLimit any_client;
    std::unordered_map<std::string, wire::FlowLimit> clients;
    std::vector<std::string> names;  ///< that the keys view; grown before
};

/// The limits of rates of one broker: those of the settings, and over them those that were set at
/// run time. Levels of buckets are kept across changes, and forgotten with the process.
///
/// Threads   any. Every loop works on a copy of the table's pointer and looks at version() to know
///           whether that is the newest: no lock is taken for a message.
class FlowControl {
public:
    /// Without limits of run time until set.
    explicit FlowControl(const BrokerOptions& options);

    /// Counts changes.
    std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }

    std::shared_ptr<const FlowTable> table() const;

    /// Replaces the limits set at run time.
    void set(const std::vector<wire::FlowLimit>& limits);

    /// Those of the settings.
    std::vector<wire::FlowLimit> defaults() const;

    /// The buckets of a client, the same for all its connections while one of them is there.
    FlowBucketsPtr client(const FlowTable& table, const std::string& client_id);

    /// Buckets of clients that are kept.
    std::size_t client_count() const;

private:
    FlowBucketsPtr keep(const wire::FlowLimit& limit) GANTRY_REQUIRES(mutex_);

    const BrokerOptions& options_;
    std::atomic<std::uint64_t> version_{0};
    mutable Mutex mutex_;
    std::shared_ptr<const FlowTable> table_ GANTRY_GUARDED_BY(mutex_);
    std::unordered_map<std::string, std::weak_ptr<FlowBuckets>> clients_ GANTRY_GUARDED_BY(mutex_);
    std::size_t clients_swept_ GANTRY_GUARDED_BY(mutex_) = 0;
};

}  // namespace gantry::broker
