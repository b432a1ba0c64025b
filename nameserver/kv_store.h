// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <map>
#include <string>

namespace gantry::nameserver {

/// Texts by namespace and key (requests 100 to 102 and 219). Its text form is RocketMQ's
/// kvConfig.json: {"configTable":{"NAMESPACE":{"key":"value"}}}.
///
/// Threads   one; no I/O, no lock.
class KvStore {
public:
    using Table = std::map<std::string, std::string>;

    explicit KvStore(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

    /// Replaces the content. kCorrupt: not such JSON. kRefused: above the limit.
    Status load(const std::string& text);
    std::string dump() const;

    /// kRefused: an empty name, or the limit would be exceeded; names field and limit.
    Status put(const std::string& name_space, const std::string& key, const std::string& value);
    /// Null when absent.
    const std::string* get(const std::string& name_space, const std::string& key) const;
    /// False when it was absent.
    bool remove(const std::string& name_space, const std::string& key);
    /// Null when the namespace has no keys.
    const Table* list(const std::string& name_space) const;

private:
    const std::uint64_t bytes_max_;
    std::uint64_t bytes_ = 0;  // of namespaces, keys and values
    std::map<std::string, Table> spaces_;
};

}  // namespace gantry::nameserver
