// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace gantry {

/// The typed settings of one program: the single description from which the TOML file,
/// `--set key=value`, `--help`, docs/settings.md and validation come.
///
/// A setting is bound to a variable that holds its default. Names are dotted paths into the TOML
/// tables ("store.flush"). Sizes and times are plain integers whose name ends in the unit
/// ("flush_interval_ms", "segment_bytes"); in text, *_bytes also take KiB, MiB, GiB, TiB suffixes,
/// *_ms take ms, s, m, h and *_us take us, ms, s. In TOML such a text is a string. A list of
/// strings is an array in TOML and separated by commas in text.
///
/// Errors    kRefused names the key, the value and the allowed range, and for an unknown key the
///           nearest known one; kIo and kNotFound for the file.
/// Threads   none: used by main before anything starts.
/// Lifetime  bound variables outlive the table.
class SettingTable {
public:
    /// Bounds of an integer, both allowed.
    struct Range {
        std::int64_t min = 0;
        std::int64_t max = INT64_MAX;
    };

    /// Any text.
    void add(std::string name, std::string* value, std::string meaning);
    /// true or false.
    void add(std::string name, bool* value, std::string meaning);
    /// An integer within `range`; its unit is read off the name.
    void add(std::string name, std::int64_t* value, Range range, std::string meaning);
    /// A list of texts, possibly empty.
    void add(std::string name, std::vector<std::string>* value, std::string meaning);
    /// A string that must be one of `choices`.
    void add_choice(std::string name,
                    std::string* value,
                    std::vector<std::string> choices,
                    std::string meaning);

    /// Applies a TOML file. Unknown keys and wrong types are errors with file, line and key.
    Status load_file(const std::string& path);
    /// Applies one "key=value".
    Status set(std::string_view assignment);

    /// One paragraph a setting, for --help.
    std::string help() const;
    /// A Markdown table: name, type, default, range, meaning; for docs/settings.md.
    std::string markdown() const;
    /// The values in force as TOML, for --print-config.
    std::string effective() const;

private:
    /// What a number counts, read off the setting's name.
    enum class Unit { kNone, kBytes, kMicroseconds, kMilliseconds };

    using Target = std::variant<std::string*, bool*, std::int64_t*, std::vector<std::string>*>;

    struct Setting {
        std::string name;
        Target target;
        Range range;
        Unit unit = Unit::kNone;
        std::vector<std::string> choices;
        std::string meaning;
        std::string default_text;
    };

    friend struct SettingsFile;

    void push(Setting setting);
    Setting* find(std::string_view name);
    std::string unknown(std::string_view name) const;

    static std::string type_of(const Setting& setting);
    static std::string allowed_of(const Setting& setting);
    static std::string text_of(const Setting& setting);
    static std::string toml_of(const Setting& setting);
    static Status assign(const Setting& setting, std::string_view text);
    static Status assign_number_text(const Setting& setting, std::string_view text);
    static Status assign_integer(const Setting& setting,
                                 std::int64_t number,
                                 std::string_view text);

    std::vector<Setting> settings_;
};

}  // namespace gantry
