// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace gantry::storage {

/// Hashes names, so that a map of strings is searched with a view of one.
struct NameHash {
    using is_transparent = void;

    std::size_t operator()(std::string_view name) const noexcept {
        return std::hash<std::string_view>{}(name);
    }
};

/// Values by name; find() takes a std::string_view.
template <class Value>
using ByName = std::unordered_map<std::string, Value, NameHash, std::equal_to<>>;

}  // namespace gantry::storage
