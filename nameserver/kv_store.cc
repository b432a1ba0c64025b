// SPDX-License-Identifier: Apache-2.0
#include "nameserver/kv_store.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace gantry::nameserver {
namespace {

constexpr const char* kRoot = "configTable";

std::uint64_t entry_bytes(const std::string& name_space,
                          const std::string& key,
                          const std::string& value) {
    return name_space.size() + key.size() + value.size();
}

Error no_string(const std::string& key, const std::string& name_space) {
    return {Errc::kCorrupt,
            "value of \"" + key + "\" in namespace \"" + name_space + "\" is no string"};
}

}  // namespace

Status KvStore::load(const std::string& text) {
    const nlohmann::json root = nlohmann::json::parse(text, nullptr, false);
    if (!root.is_object()) {
        return Error{Errc::kCorrupt, "not a JSON object"};
    }
    const auto spaces = root.find(kRoot);
    if (spaces == root.end() || !spaces->is_object()) {
        return Error{Errc::kCorrupt, "no object \"configTable\""};
    }
    spaces_.clear();
    bytes_ = 0;
    for (const auto& [name_space, table] : spaces->items()) {
        if (!table.is_object()) {
            return Error{Errc::kCorrupt, "namespace \"" + name_space + "\" is no object"};
        }
        for (const auto& [key, value] : table.items()) {
            if (!value.is_string()) {
                return no_string(key, name_space);
            }
            GANTRY_TRY(put(name_space, key, value.get_ref<const std::string&>()));
        }
    }
    return ok();
}

std::string KvStore::dump() const {
    nlohmann::json root;
    root[kRoot] = spaces_;
    // Values come from clients: what is no UTF-8 must not throw.
    return root.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status KvStore::put(const std::string& name_space,
                    const std::string& key,
                    const std::string& value) {
    if (name_space.empty() || key.empty()) {
        return Error{Errc::kRefused, name_space.empty() ? "namespace is empty" : "key is empty"};
    }
    const std::string* const old = get(name_space, key);
    const std::uint64_t freed = old == nullptr ? 0 : entry_bytes(name_space, key, *old);
    const std::uint64_t added = entry_bytes(name_space, key, value);
    const std::uint64_t bytes = bytes_ - freed + added;
    if (bytes > bytes_max_) {
        return Error{Errc::kRefused,
                     "namespace, key and value of " + std::to_string(added) + " B would make " +
                         std::to_string(bytes) + " B > limits.kv_bytes_max " +
                         std::to_string(bytes_max_)};
    }
    bytes_ = bytes;
    spaces_[name_space][key] = value;
    return ok();
}

const std::string* KvStore::get(const std::string& name_space, const std::string& key) const {
    const Table* const table = list(name_space);
    if (table == nullptr) {
        return nullptr;
    }
    const auto entry = table->find(key);
    return entry == table->end() ? nullptr : &entry->second;
}

bool KvStore::remove(const std::string& name_space, const std::string& key) {
    const auto space = spaces_.find(name_space);
    if (space == spaces_.end()) {
        return false;
    }
    const auto entry = space->second.find(key);
    if (entry == space->second.end()) {
        return false;
    }
    bytes_ -= entry_bytes(name_space, key, entry->second);
    space->second.erase(entry);
    if (space->second.empty()) {
        spaces_.erase(space);
    }
    return true;
}

const KvStore::Table* KvStore::list(const std::string& name_space) const {
    const auto space = spaces_.find(name_space);
    return space == spaces_.end() ? nullptr : &space->second;
}

}  // namespace gantry::nameserver
