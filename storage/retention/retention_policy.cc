// SPDX-License-Identifier: Apache-2.0
#include "storage/retention/retention_policy.h"

#include "protocol/wire/topic.pb.h"

#include <algorithm>
#include <charconv>

namespace gantry::storage {
namespace {

/// A hundred years: what is added to a time stays a time.
constexpr std::int64_t kMsMax = std::int64_t{100} * 366 * 86'400'000;

Error illegal(std::string_view name, std::string_view value, std::string_view allowed) {
    return {Errc::kRefused,
            "attribute " + std::string(name) + " \"" + std::string(value) + "\" is not " +
                std::string(allowed)};
}

Result<std::int64_t> parse_number(std::string_view name, std::string_view text, std::int64_t max) {
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size() || value < 0 || value > max) {
        return illegal(name, text, "a number from 0 (no limit) to " + std::to_string(max));
    }
    return value;
}

}  // namespace

Result<std::optional<TopicRetention>> retention_of(const wire::TopicConfig& topic,
                                                   const RetentionOptions& defaults) {
    TopicRetention rules{.keep_ms = defaults.keep_ms,
                         .cap_ms = defaults.unconsumed_ms_max,
                         .cap_bytes = defaults.unconsumed_bytes_max};
    bool has_own = false;
    for (const auto& [name, value] : topic.attributes()) {
        if (name == retention_attribute::kMs) {
            GANTRY_ASSIGN_OR_RETURN(rules.keep_ms, parse_number(name, value, kMsMax));
        } else if (name == retention_attribute::kBytes) {
            GANTRY_ASSIGN_OR_RETURN(const std::int64_t bytes, parse_number(name, value, INT64_MAX));
            rules.bytes_max = static_cast<std::uint64_t>(bytes);
        } else if (name == retention_attribute::kUntilConsumed) {
            if (value != "true" && value != "false") {
                return illegal(name, value, "true or false");
            }
            rules.until_consumed = value == "true";
        } else {
            continue;
        }
        has_own = true;
    }
    return has_own ? std::optional(rules) : std::nullopt;
}

LogOffset expired_end(const std::vector<SegmentAge>& segments,
                      const RetentionOptions& defaults,
                      WallMs now) {
    if (segments.empty()) {
        return {};
    }
    LogOffset end = segments.front().base;
    const LogOffset log_end = segments.back().end;
    for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
        const auto newer = std::find_if(
            segments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
            segments.end(),
            [now](const SegmentAge& later) { return later.first_ms > 0 && later.first_ms <= now; });
        const bool is_old = defaults.keep_ms > 0 && newer != segments.end() &&
                            newer->first_ms <= now - defaults.keep_ms;
        const bool is_too_much =
            defaults.bytes_max > 0 &&
            static_cast<std::uint64_t>(log_end - segments[i].base) > defaults.bytes_max;
        if (!is_old && !is_too_much) {
            break;
        }
        end = segments[i].end;
    }
    return end;
}

QueueOffset queue_min(const QueueLimits& limits, const TopicRetention& rules) {
    if (!rules.until_consumed) {
        return limits.expired;
    }
    return std::min(limits.expired, std::max(limits.consumed, limits.cap));
}

}  // namespace gantry::storage
