// SPDX-License-Identifier: Apache-2.0
#include "cli/retry/backoff.h"

#include <array>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::cli {
namespace {

using client::RetryBackoff;

constexpr std::string_view kExponential = "exponential:";

struct Unit {
    std::string_view name;
    std::int64_t ms;
};

constexpr std::array<Unit, 4> kUnits = {
    Unit{"ms", 1}, Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1'000}};

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t end = text.find(',');
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) {
            return parts;
        }
        text.remove_prefix(end + 1);
    }
}

Result<std::int64_t> number_of(std::string_view text) {
    constexpr std::size_t kDigitsMax = 12;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || text.size() > kDigitsMax || error != std::errc{} ||
        end != text.data() + text.size() || value < 0) {
        return Error{Errc::kRefused, "\"" + std::string(text) + "\" is no number"};
    }
    return value;
}

Result<std::int64_t> time_of(std::string_view text) {
    for (const Unit& unit : kUnits) {
        if (text.ends_with(unit.name)) {
            const auto number = number_of(text.substr(0, text.size() - unit.name.size()));
            if (number) {
                return *number * unit.ms;
            }
            break;
        }
    }
    return Error{
        Errc::kRefused,
        "--backoff \"" + std::string(text) + "\" is no time: a number and one of ms, s, m, h"};
}

std::string time_text_of(std::int64_t ms) {
    for (const Unit& unit : {kUnits[1], kUnits[2], kUnits[3]}) {
        if (ms != 0 && ms % unit.ms == 0) {
            return std::to_string(ms / unit.ms) + std::string(unit.name);
        }
    }
    return std::to_string(ms) + "ms";
}

Result<RetryBackoff> parse_exponential(std::string_view text) {
    const std::vector<std::string_view> parts = split(text);
    if (parts.size() != 3) {
        return Error{Errc::kRefused,
                     "--backoff exponential:" + std::string(text) + " has " +
                         std::to_string(parts.size()) + " values, not 3: INITIAL,MAX,MULTIPLIER"};
    }
    RetryBackoff backoff;
    backoff.kind = RetryBackoff::Kind::kExponential;
    GANTRY_ASSIGN_OR_RETURN(backoff.initial_ms, time_of(parts[0]));
    GANTRY_ASSIGN_OR_RETURN(backoff.max_ms, time_of(parts[1]));
    const auto multiplier = number_of(parts[2]);
    if (!multiplier) {
        return Error{Errc::kRefused, "--backoff: the multiplier " + multiplier.error().detail};
    }
    backoff.multiplier = *multiplier;
    return backoff;
}

}  // namespace

Result<RetryBackoff> parse_backoff(const std::string& text) {
    const std::string_view view = text;
    RetryBackoff backoff;
    if (view == "default") {
        return backoff;
    }
    if (view.starts_with(kExponential)) {
        return parse_exponential(view.substr(kExponential.size()));
    }
    backoff.kind = RetryBackoff::Kind::kTable;
    for (const std::string_view part : split(view)) {
        GANTRY_ASSIGN_OR_RETURN(const std::int64_t ms, time_of(part));
        backoff.table_ms.push_back(ms);
    }
    return backoff;
}

std::string backoff_text(const RetryBackoff& backoff) {
    if (backoff.kind == RetryBackoff::Kind::kDefault) {
        return "default";
    }
    if (backoff.kind == RetryBackoff::Kind::kExponential) {
        return std::string(kExponential) + time_text_of(backoff.initial_ms) + ',' +
               time_text_of(backoff.max_ms) + ',' + std::to_string(backoff.multiplier);
    }
    std::string text;
    for (const std::int64_t ms : backoff.table_ms) {
        text += (text.empty() ? "" : ",") + time_text_of(ms);
    }
    return text;
}

}  // namespace gantry::cli
