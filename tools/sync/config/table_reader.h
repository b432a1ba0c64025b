// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/result.h"

#include <toml++/toml.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::sync {

/// Takes known keys out of one TOML table; a key that is absent leaves its value as it is.
///
/// Errors    kRefused: a value of another type or out of its range; names file, line and key.
/// Lifetime  the table outlives it.
class TableReader {
public:
    /// Bounds, both allowed.
    struct Range {
        std::int64_t min = 0;
        std::int64_t max = 0;
    };

    TableReader(const toml::table& table, std::string source)
        : table_(table), source_(std::move(source)) {}

    /// Values of that type; an absent key is success.
    Status text(std::string_view key, std::string& value);
    Status texts(std::string_view key, std::vector<std::string>& value);
    Status flag(std::string_view key, bool& value);
    /// An integer; keys that end in _bytes also take text with KiB, MiB or GiB.
    Status number(std::string_view key, Range range, std::int64_t& value);
    Status choice(std::string_view key,
                  const std::vector<std::string>& allowed,
                  std::string& value);
    /// Milliseconds of "2026-11-21T01:02:03" or "2026-11-21" (UTC).
    Result<WallMs> time_of(std::string_view key, const std::string& text) const;

    /// kRefused: the table has a key that nobody asked for.
    Status nothing_else() const;
    /// What is wrong with a key.
    Error refused(std::string_view key, const std::string& why) const;

private:
    const toml::node* find(std::string_view key);

    const toml::table& table_;
    std::string source_;
    std::set<std::string, std::less<>> known_;
};

}  // namespace gantry::sync
