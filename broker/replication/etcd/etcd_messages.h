// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

/// A key of etcd with what it holds; plain bytes, as everywhere but on the wire.
struct EtcdKey {
    std::string key;
    std::string value;
    std::uint64_t revision = 0;  ///< of its last change
    std::int64_t lease = 0;      ///< 0: it stays
};

/// All keys below a prefix at one revision.
struct EtcdListing {
    std::uint64_t cluster = 0;
    std::uint64_t revision = 0;
    std::vector<EtcdKey> keys{};
};

/// A change that a watch tells.
struct EtcdChange {
    EtcdKey key;  ///< of one that was deleted: its name, and the revision of that
    bool is_deleted = false;
};

/// One message of a watch.
struct EtcdWatchNews {
    std::vector<EtcdChange> changes{};
    std::uint64_t revision = 0;  ///< that the changes lead to
    std::string ended;           ///< why no more come: list again. Empty: more do
};

/// When a key may be written.
struct EtcdCondition {
    std::uint64_t revision = 0;  ///< its last change was that; 0: it is not there
};

/// A lease. seconds: how long it lives from now.
struct EtcdLease {
    std::int64_t id = 0;
    std::int64_t seconds = 0;
};

/// Bodies of requests to etcd's JSON gateway, /v3/...: keys and values in base64, integers as
/// strings.
std::string etcd_range_request(std::string_view prefix);
std::string etcd_watch_request(std::string_view prefix, std::uint64_t from_revision);
std::string etcd_put_request(const EtcdKey& key, const EtcdCondition& condition);
std::string etcd_grant_request(std::int64_t seconds);
std::string etcd_lease_request(std::int64_t id);

/// What the answers say. Fields that are zero are left out of them. kCorrupt: no such answer.
Result<EtcdListing> parse_etcd_listing(std::string_view body);
/// The new revision. kConflict: the condition does not hold, nothing was written.
Result<std::uint64_t> parse_etcd_put(std::string_view body);
/// kNotFound: the lease is over.
Result<EtcdLease> parse_etcd_lease(std::string_view body);
Result<EtcdWatchNews> parse_etcd_watch(std::string_view line);

/// What a refusal means for the request:
///   kNotFound   its lease is over              kDiskFull  etcd's quota is used up
///   kRefused    it is malformed                kBusy      too many at once
///   kDenied     no permission
///   kUnknown    anything else: no leader, timed out inside, shutting down: may be carried out
Error etcd_error(int status, std::string_view body);

/// RFC 4648 with padding.
std::string to_base64(std::string_view bytes);
/// Nothing when it is none.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace gantry::broker
