// SPDX-License-Identifier: Apache-2.0
#include "storage/index/unit_tag.h"

#include "protocol/wire/properties.h"

#include <algorithm>
#include <charconv>

namespace gantry::storage {
namespace {

constexpr WallMs kBeginMs = 1'735'689'600'000;  // 2025-01-01
constexpr WallMs kStepMs = 250;
constexpr std::int64_t kStepMax = 0xFFFF'FFFE;
constexpr unsigned kHalfBits = 32;

/// In steps, rounded up; 0: never.
std::uint32_t steps_until(std::string_view expires_at) noexcept {
    WallMs at = 0;
    const char* const end = expires_at.data() + expires_at.size();
    const auto parsed = std::from_chars(expires_at.data(), end, at);
    const WallMs last = kBeginMs + kStepMax * kStepMs;
    if (parsed.ec != std::errc{} || parsed.ptr != end || at > last) {
        return 0;
    }
    const WallMs behind = std::max(at, kBeginMs) - kBeginMs;
    return static_cast<std::uint32_t>(std::max<WallMs>((behind + kStepMs - 1) / kStepMs, 1));
}

std::int64_t due_ms(std::string_view text) noexcept {
    std::int64_t due = 0;
    std::from_chars(text.data(), text.data() + text.size(), due);
    return due;
}

}  // namespace

std::int64_t unit_tag(std::string_view properties) noexcept {
    std::string_view tag;
    std::string_view expires_at;
    std::string_view due;
    bool waits = false;
    wire::for_each_property(properties, [&](std::string_view name, std::string_view value) {
        if (name == wire::property::kTags) {
            tag = value;
        } else if (name == wire::property::kExpiresAt) {
            expires_at = value;
        } else if (name == wire::property::kTimerOutMs) {
            due = value;
        } else if (name == wire::property::kRealTopic) {
            waits = true;
        }
    });
    if (waits && !due.empty()) {
        return due_ms(due);
    }
    const std::int64_t hash = wire::tag_hash(tag);
    const std::uint32_t expiry = expires_at.empty() ? 0 : steps_until(expires_at);
    if (expiry == 0) {
        return hash;
    }
    return static_cast<std::int64_t>((std::uint64_t{expiry} << kHalfBits) |
                                     static_cast<std::uint32_t>(hash));
}

WallMs expiry_in(std::int64_t tag) noexcept {
    const auto expiry = static_cast<std::int64_t>(static_cast<std::uint64_t>(tag) >> kHalfBits);
    return expiry == 0 || expiry > kStepMax ? 0 : kBeginMs + expiry * kStepMs;
}

ExpiryClock::ExpiryClock(WallMs now) noexcept
    : now_(now <= kBeginMs
               ? 0
               : static_cast<std::uint32_t>(std::min((now - kBeginMs) / kStepMs, kStepMax))) {}

}  // namespace gantry::storage
