// SPDX-License-Identifier: Apache-2.0
#include "common/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>
#include <utility>

namespace gantry {
namespace {

struct Suffix {
    std::string_view text;
    std::int64_t factor;
};

constexpr std::int64_t kKiB = 1024;

// Largest first: printing takes the first that divides the number.
constexpr std::array<Suffix, 4> kByteSuffixes = {{{"TiB", kKiB* kKiB* kKiB* kKiB},
                                                  {"GiB", kKiB* kKiB* kKiB},
                                                  {"MiB", kKiB* kKiB},
                                                  {"KiB", kKiB}}};
constexpr std::array<Suffix, 4> kMsSuffixes = {
    {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<Suffix, 3> kUsSuffixes = {{{"s", 1'000'000}, {"ms", 1'000}, {"us", 1}}};

std::string in_quotes(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
            constexpr std::string_view kHex = "0123456789abcdef";
            out += "\\u00";
            out += kHex[static_cast<unsigned char>(c) >> 4U];
            out += kHex[static_cast<unsigned char>(c) & 0xFU];
        } else {
            out += c;
        }
    }
    out += '"';
    return out;
}

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
    std::string out;
    for (const std::string& part : parts) {
        if (!out.empty()) {
            out += separator;
        }
        out += part;
    }
    return out;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row.back();
}

std::string_view last_part(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

std::string_view table_part(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

bool has_word(std::string_view name, std::string_view word) {
    while (!name.empty()) {
        const std::size_t end = name.find('_');
        if (name.substr(0, end) == word) {
            return true;
        }
        if (end == std::string_view::npos) {
            return false;
        }
        name.remove_prefix(end + 1);
    }
    return false;
}

template <std::size_t N>
std::string number_text(std::int64_t number, const std::array<Suffix, N>& suffixes) {
    for (const Suffix& suffix : suffixes) {
        if (number != 0 && number % suffix.factor == 0) {
            return std::to_string(number / suffix.factor) + std::string(suffix.text);
        }
    }
    return std::to_string(number);
}

template <std::size_t N>
std::int64_t factor_of(std::string_view text, const std::array<Suffix, N>& suffixes) {
    for (const Suffix& suffix : suffixes) {
        if (text == suffix.text) {
            return suffix.factor;
        }
    }
    return 0;
}

Error refused(std::string detail) {
    return Error{Errc::kRefused, std::move(detail)};
}

}  // namespace

void SettingTable::add(std::string name, std::string* value, std::string meaning) {
    push({std::move(name), value, {}, Unit::kNone, {}, std::move(meaning), {}});
}

void SettingTable::add(std::string name, bool* value, std::string meaning) {
    push({std::move(name), value, {}, Unit::kNone, {}, std::move(meaning), {}});
}

void SettingTable::add(std::string name, std::int64_t* value, Range range, std::string meaning) {
    const std::string_view last = last_part(name);
    Unit unit = Unit::kNone;
    if (has_word(last, "bytes")) {
        unit = Unit::kBytes;
    } else if (has_word(last, "ms")) {
        unit = Unit::kMilliseconds;
    } else if (has_word(last, "us")) {
        unit = Unit::kMicroseconds;
    }
    push({std::move(name), value, range, unit, {}, std::move(meaning), {}});
}

void SettingTable::add(std::string name, std::vector<std::string>* value, std::string meaning) {
    push({std::move(name), value, {}, Unit::kNone, {}, std::move(meaning), {}});
}

void SettingTable::add_choice(std::string name,
                              std::string* value,
                              std::vector<std::string> choices,
                              std::string meaning) {
    push({std::move(name), value, {}, Unit::kNone, std::move(choices), std::move(meaning), {}});
}

void SettingTable::push(Setting setting) {
    setting.default_text = text_of(setting);
    settings_.push_back(std::move(setting));
}

SettingTable::Setting* SettingTable::find(std::string_view name) {
    for (Setting& setting : settings_) {
        if (setting.name == name) {
            return &setting;
        }
    }
    return nullptr;
}

std::string SettingTable::unknown(std::string_view name) const {
    std::string text = "unknown setting " + in_quotes(name);
    const Setting* nearest = nullptr;
    std::size_t least = std::numeric_limits<std::size_t>::max();
    for (const Setting& setting : settings_) {
        // A key without its table, or a table without its key, is nearer than a mistyped one.
        const bool part = last_part(setting.name) == name || table_part(setting.name) == name;
        const std::size_t distance = part ? 1 : edit_distance(name, setting.name);
        if (distance < least) {
            least = distance;
            nearest = &setting;
        }
    }
    if (nearest != nullptr && least <= std::max<std::size_t>(2, nearest->name.size() / 2)) {
        text += "; did you mean " + in_quotes(nearest->name) + "?";
    }
    return text;
}

std::string SettingTable::type_of(const Setting& setting) {
    if (std::holds_alternative<bool*>(setting.target)) {
        return "boolean";
    }
    if (std::holds_alternative<std::int64_t*>(setting.target)) {
        return "integer";
    }
    if (std::holds_alternative<std::vector<std::string>*>(setting.target)) {
        return "list of strings";
    }
    return "string";
}

std::string SettingTable::text_of(const Setting& setting) {
    if (const auto* flag = std::get_if<bool*>(&setting.target)) {
        return **flag ? "true" : "false";
    }
    if (const auto* list = std::get_if<std::vector<std::string>*>(&setting.target)) {
        return joined(**list, ",");
    }
    if (const auto* text = std::get_if<std::string*>(&setting.target)) {
        return **text;
    }
    const std::int64_t number = *std::get<std::int64_t*>(setting.target);
    switch (setting.unit) {
        case Unit::kBytes:
            return number_text(number, kByteSuffixes);
        case Unit::kMilliseconds:
            return number_text(number, kMsSuffixes);
        case Unit::kMicroseconds:
            return number_text(number, kUsSuffixes);
        case Unit::kNone:
            break;
    }
    return std::to_string(number);
}

std::string SettingTable::allowed_of(const Setting& setting) {
    if (std::holds_alternative<bool*>(setting.target)) {
        return "true, false";
    }
    if (!std::holds_alternative<std::int64_t*>(setting.target)) {
        return joined(setting.choices, ", ");
    }
    const auto bound = [&setting](std::int64_t number) {
        Setting at_bound = setting;
        at_bound.target = &number;
        return text_of(at_bound);
    };
    if (setting.range.max == INT64_MAX) {
        return "at least " + bound(setting.range.min);
    }
    return bound(setting.range.min) + " to " + bound(setting.range.max);
}

std::string SettingTable::toml_of(const Setting& setting) {
    if (const auto* text = std::get_if<std::string*>(&setting.target)) {
        return in_quotes(**text);
    }
    if (const auto* list = std::get_if<std::vector<std::string>*>(&setting.target)) {
        std::vector<std::string> items;
        for (const std::string& item : **list) {
            items.push_back(in_quotes(item));
        }
        return "[" + joined(items, ", ") + "]";
    }
    if (const auto* number = std::get_if<std::int64_t*>(&setting.target)) {
        return std::to_string(**number);
    }
    return text_of(setting);
}

Status SettingTable::assign_integer(const Setting& setting,
                                    std::int64_t number,
                                    std::string_view text) {
    if (number < setting.range.min || number > setting.range.max) {
        return refused(setting.name + " = " + std::string(text) + ": allowed is " +
                       allowed_of(setting));
    }
    *std::get<std::int64_t*>(setting.target) = number;
    return ok();
}

Status SettingTable::assign(const Setting& setting, std::string_view text) {
    const std::string shown = setting.name + " = " + in_quotes(text);
    if (const auto* flag = std::get_if<bool*>(&setting.target)) {
        if (text != "true" && text != "false") {
            return refused(shown + ": allowed is true, false");
        }
        **flag = text == "true";
        return ok();
    }
    if (const auto* list = std::get_if<std::vector<std::string>*>(&setting.target)) {
        std::vector<std::string> items;
        while (!text.empty()) {
            const std::size_t comma = text.find(',');
            const std::string_view item = trimmed(text.substr(0, comma));
            if (!item.empty()) {
                items.emplace_back(item);
            }
            text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
        }
        **list = std::move(items);
        return ok();
    }
    if (const auto* string = std::get_if<std::string*>(&setting.target)) {
        const auto& choices = setting.choices;
        if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
            return refused(shown + ": allowed is " + joined(choices, ", "));
        }
        **string = text;
        return ok();
    }
    return assign_number_text(setting, text);
}

Status SettingTable::assign_number_text(const Setting& setting, std::string_view text) {
    std::int64_t number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view suffix =
        trimmed(text.substr(static_cast<std::size_t>(parsed.ptr - text.data())));
    std::int64_t factor = suffix.empty() ? 1 : 0;
    std::string_view units;
    if (setting.unit == Unit::kBytes) {
        factor = std::max(factor, factor_of(suffix, kByteSuffixes));
        units = ", optionally with KiB, MiB, GiB or TiB";
    } else if (setting.unit == Unit::kMilliseconds) {
        factor = std::max(factor, factor_of(suffix, kMsSuffixes));
        units = ", optionally with ms, s, m or h";
    } else if (setting.unit == Unit::kMicroseconds) {
        factor = std::max(factor, factor_of(suffix, kUsSuffixes));
        units = ", optionally with us, ms or s";
    }
    const std::string shown = setting.name + " = " + in_quotes(text);
    if (parsed.ec == std::errc::invalid_argument || factor == 0) {
        return refused(shown + ": not a whole number" + std::string(units));
    }
    std::int64_t product = 0;
    if (parsed.ec != std::errc{} || __builtin_mul_overflow(number, factor, &product)) {
        return refused(shown + ": allowed is " + allowed_of(setting));
    }
    return assign_integer(setting, product, in_quotes(text));
}

Status SettingTable::set(std::string_view assignment) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string_view::npos) {
        return refused(in_quotes(assignment) + ": expected key=value");
    }
    const std::string_view name = trimmed(assignment.substr(0, equals));
    const Setting* setting = find(name);
    if (setting == nullptr) {
        return refused(unknown(name));
    }
    return assign(*setting, trimmed(assignment.substr(equals + 1)));
}

std::string SettingTable::help() const {
    std::string out;
    for (const Setting& setting : settings_) {
        const std::string allowed = allowed_of(setting);
        out += "  " + setting.name + "  (" + type_of(setting);
        out += allowed.empty() ? "" : ", " + allowed;
        out += setting.default_text.empty() ? "; default: empty)\n"
                                            : "; default: " + setting.default_text + ")\n";
        out += "      " + setting.meaning + "\n";
    }
    return out;
}

std::string SettingTable::markdown() const {
    std::string out = "| setting | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
    for (const Setting& setting : settings_) {
        const std::string fallback =
            setting.default_text.empty() ? "empty" : "`" + setting.default_text + "`";
        out += "| `" + setting.name + "` | " + type_of(setting) + " | " + fallback + " | " +
               allowed_of(setting) + " | " + setting.meaning + " |\n";
    }
    return out;
}

std::string SettingTable::effective() const {
    std::vector<std::string_view> tables;
    for (const Setting& setting : settings_) {
        const std::string_view name = table_part(setting.name);
        if (std::find(tables.begin(), tables.end(), name) == tables.end()) {
            tables.push_back(name);
        }
    }
    // Keys without a table must stand before the first table header.
    std::stable_sort(tables.begin(), tables.end(), [](std::string_view a, std::string_view b) {
        return a.empty() && !b.empty();
    });
    std::string out;
    for (const std::string_view name : tables) {
        out += out.empty() ? "" : "\n";
        out += name.empty() ? "" : "[" + std::string(name) + "]\n";
        for (const Setting& setting : settings_) {
            if (table_part(setting.name) == name) {
                out += std::string(last_part(setting.name)) + " = " + toml_of(setting) + "\n";
            }
        }
    }
    return out;
}

}  // namespace gantry
