// SPDX-License-Identifier: Apache-2.0
#include "sync/config/table_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <limits>
#include <sstream>
#include <utility>

namespace gantry::sync {
namespace {

/// Bytes of "64", "64KiB", ...; nothing when it is no such text.
Result<std::int64_t> bytes_of(const std::string& text) {
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> kUnits = {
        {{"", 1}, {"KiB", 1 << 10U}, {"MiB", 1 << 20U}, {"GiB", 1 << 30U}}};
    std::int64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    const std::string_view unit(parsed.ptr, static_cast<std::size_t>(end - parsed.ptr));
    for (const auto& [name, factor] : kUnits) {
        if (parsed.ec == std::errc{} && unit == name &&
            number <= std::numeric_limits<std::int64_t>::max() / factor) {
            return number * factor;
        }
    }
    return Error{Errc::kRefused, "no size"};
}

/// A value as TOML writes it, in front of what is wrong with it.
std::string shown(const toml::node& node) {
    constexpr std::size_t kMost = 100;
    std::ostringstream text;
    node.visit([&text](const auto& value) { text << value; });
    std::string line = text.str();
    if (line.size() > kMost) {
        line.replace(kMost, std::string::npos, "...");
    }
    return line + ": ";
}

}  // namespace

const toml::node* TableReader::find(std::string_view key) {
    known_.emplace(key);
    return table_.get(key);
}

Error TableReader::refused(std::string_view key, const std::string& why) const {
    const toml::node* const node = table_.get(key);
    const auto line = node != nullptr ? node->source().begin.line : table_.source().begin.line;
    return {Errc::kRefused,
            source_ + ":" + std::to_string(line) + ": " + std::string(key) + ": " + why};
}

Status TableReader::text(std::string_view key, std::string& value) {
    const toml::node* const node = find(key);
    if (node == nullptr) {
        return ok();
    }
    if (!node->is_string()) {
        return refused(key, shown(*node) + "expected a string");
    }
    value = node->as_string()->get();
    return ok();
}

Status TableReader::texts(std::string_view key, std::vector<std::string>& value) {
    const toml::node* const node = find(key);
    if (node == nullptr) {
        return ok();
    }
    const toml::array* const array = node->as_array();
    if (array == nullptr) {
        return refused(key, shown(*node) + "expected a list of strings");
    }
    value.clear();
    for (const toml::node& item : *array) {
        if (!item.is_string()) {
            return refused(key, shown(item) + "expected a list of strings");
        }
        value.push_back(item.as_string()->get());
    }
    return ok();
}

Status TableReader::flag(std::string_view key, bool& value) {
    const toml::node* const node = find(key);
    if (node == nullptr) {
        return ok();
    }
    if (!node->is_boolean()) {
        return refused(key, shown(*node) + "expected true or false");
    }
    value = node->as_boolean()->get();
    return ok();
}

Status TableReader::number(std::string_view key, Range range, std::int64_t& value) {
    const toml::node* const node = find(key);
    if (node == nullptr) {
        return ok();
    }
    Result<std::int64_t> given = Error{Errc::kRefused, ""};
    if (node->is_integer()) {
        given = node->as_integer()->get();
    } else if (node->is_string() && key.find("bytes") != std::string_view::npos) {
        given = bytes_of(node->as_string()->get());
    }
    if (!given || *given < range.min || *given > range.max) {
        return refused(key,
                       shown(*node) + "allowed is an integer from " + std::to_string(range.min) +
                           " to " + std::to_string(range.max));
    }
    value = *given;
    return ok();
}

Status TableReader::choice(std::string_view key,
                           const std::vector<std::string>& allowed,
                           std::string& value) {
    GANTRY_TRY(text(key, value));
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) {
        return ok();
    }
    std::string all;
    for (const std::string& one : allowed) {
        all += (all.empty() ? "" : ", ") + one;
    }
    return refused(key, "\"" + value + "\": allowed is " + all);
}

Result<WallMs> TableReader::time_of(std::string_view key, const std::string& text) const {
    constexpr WallMs kSecond = 1'000;
    for (const char* form : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"}) {
        std::tm parts{};
        const char* const end = ::strptime(text.c_str(), form, &parts);
        if (end != nullptr && (*end == '\0' || *end == 'Z')) {
            return WallMs{::timegm(&parts)} * kSecond;
        }
    }
    return refused(key, "\"" + text + "\" is none of first, last, YYYY-MM-DD[THH:MM:SS] (UTC)");
}

Status TableReader::nothing_else() const {
    for (const auto& [key, node] : table_) {
        if (known_.count(key.str()) == 0) {
            std::string all;
            for (const std::string& one : known_) {
                all += (all.empty() ? "" : ", ") + one;
            }
            return refused(key.str(), "unknown key; known are " + all);
        }
    }
    return ok();
}

}  // namespace gantry::sync
