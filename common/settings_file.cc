// SPDX-License-Identifier: Apache-2.0
#include "common/settings.h"

#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace gantry {
namespace {

Error refused(std::string detail) {
    return Error{Errc::kRefused, std::move(detail)};
}

Result<std::string> read_whole(const std::string& path) {
    std::FILE* const file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) {
        const int reason = errno;
        Error error = io_error("settings file " + path, reason);
        if (reason == ENOENT) {
            error.code = Errc::kNotFound;
        }
        return error;
    }
    std::string content;
    std::array<char, 4096> chunk{};
    std::size_t count = 0;
    while ((count = std::fread(chunk.data(), 1, chunk.size(), file)) > 0) {
        content.append(chunk.data(), count);
    }
    const int reason = std::ferror(file) != 0 ? errno : 0;
    std::fclose(file);
    if (reason != 0) {
        return io_error("settings file " + path, reason);
    }
    return content;
}

}  // namespace

/// Walks a parsed TOML file and assigns what it finds.
struct SettingsFile {
    SettingTable& table;
    const std::string& path;

    std::string where(const toml::node& node) const {
        return path + ":" + std::to_string(node.source().begin.line) + ": ";
    }

    Status wrong_type(const SettingTable::Setting& setting, const toml::node& node) const {
        std::string found;
        if (node.is_table()) {
            found = "table";
        } else if (node.is_array()) {
            found = "array";
        } else if (node.is_string()) {
            found = "string";
        } else if (node.is_integer()) {
            found = "integer";
        } else if (node.is_boolean()) {
            found = "boolean";
        } else if (node.is_floating_point()) {
            found = "floating-point number";
        } else {
            found = "date or time";
        }
        return refused(where(node) + setting.name + ": expected " + SettingTable::type_of(setting) +
                       ", found " + found);
    }

    Status assign_list(const SettingTable::Setting& setting, const toml::array& array) const {
        std::vector<std::string> items;
        for (const toml::node& node : array) {
            if (!node.is_string()) {
                return wrong_type(setting, node);
            }
            items.push_back(node.as_string()->get());
        }
        *std::get<std::vector<std::string>*>(setting.target) = std::move(items);
        return ok();
    }

    Status assign(const SettingTable::Setting& setting, const toml::node& node) const {
        const bool is_number = std::holds_alternative<std::int64_t*>(setting.target);
        const bool takes_text = std::holds_alternative<std::string*>(setting.target) ||
                                (is_number && setting.unit != SettingTable::Unit::kNone);
        Status status = ok();
        if (node.is_string() && takes_text) {
            status = SettingTable::assign(setting, node.as_string()->get());
        } else if (node.is_integer() && is_number) {
            const std::int64_t number = node.as_integer()->get();
            status = SettingTable::assign_integer(setting, number, std::to_string(number));
        } else if (node.is_boolean() && std::holds_alternative<bool*>(setting.target)) {
            *std::get<bool*>(setting.target) = node.as_boolean()->get();
        } else if (node.is_array() &&
                   std::holds_alternative<std::vector<std::string>*>(setting.target)) {
            return assign_list(setting, *node.as_array());
        } else {
            return wrong_type(setting, node);
        }
        if (!status) {
            return refused(where(node) + status.error().detail);
        }
        return ok();
    }

    Status walk(const toml::table& from, const std::string& prefix) const {
        for (const auto& [key, node] : from) {
            const std::string name = prefix + std::string(key.str());
            if (const SettingTable::Setting* setting = table.find(name)) {
                GANTRY_TRY(assign(*setting, node));
            } else if (node.is_table() && (is_known_table(name) || !node.as_table()->empty())) {
                // An unknown table is walked too: its full keys give the better suggestions.
                GANTRY_TRY(walk(*node.as_table(), name + "."));
            } else {
                return refused(where(node) + table.unknown(name));
            }
        }
        return ok();
    }

    bool is_known_table(const std::string& name) const {
        return std::any_of(table.settings_.begin(), table.settings_.end(), [&](const auto& known) {
            return known.name.compare(0, name.size() + 1, name + ".") == 0;
        });
    }
};

Status SettingTable::load_file(const std::string& path) {
    GANTRY_ASSIGN_OR_RETURN(const std::string content, read_whole(path));
    try {
        const toml::table parsed = toml::parse(content, path);
        return SettingsFile{*this, path}.walk(parsed, "");
    } catch (const toml::parse_error& error) {
        return refused(path + ":" + std::to_string(error.source().begin.line) + ": " +
                       std::string(error.description()));
    }
}

}  // namespace gantry
