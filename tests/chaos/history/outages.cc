// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/history/outages.h"

#include <algorithm>
#include <array>
#include <map>

namespace gantry::chaos {
namespace {

std::vector<std::int64_t> acknowledged_at(const History& history) {
    std::vector<std::int64_t> times;
    for (const Operation& it : history.operations) {
        if (it.op == Op::kSend && it.outcome == Outcome::kOk) {
            times.push_back(it.returned);
        }
    }
    std::sort(times.begin(), times.end());
    return times;
}

/// The longest time without an acknowledgement that begins in the fault or holds its beginning.
std::int64_t longest_us(const std::vector<std::int64_t>& times, const FaultSpan& fault) {
    auto at = std::upper_bound(times.begin(), times.end(), fault.from);
    std::int64_t begin = fault.from;
    std::int64_t longest = 0;
    while (at != times.end()) {
        longest = std::max(longest, *at - begin);
        begin = *at;
        if (begin > fault.to) {
            return longest;
        }
        ++at;
    }
    return std::max(longest, fault.to - begin);
}

}  // namespace

std::vector<Outage> outages(const History& history, const std::vector<FaultSpan>& faults) {
    const std::vector<std::int64_t> times = acknowledged_at(history);
    std::map<std::string, std::vector<std::int64_t>> by_kind;
    for (const FaultSpan& fault : faults) {
        by_kind[fault.kind].push_back(longest_us(times, fault) / 1'000);
    }
    std::vector<Outage> result;
    for (auto& [kind, lengths] : by_kind) {
        std::sort(lengths.begin(), lengths.end());
        result.push_back({kind, lengths.size(), lengths[lengths.size() / 2], lengths.back()});
    }
    return result;
}

std::string report(const std::vector<Outage>& outages) {
    std::array<char, 120> line{};
    std::snprintf(
        line.data(), line.size(), "%-28s %6s %10s %10s\n", "FAULT", "COUNT", "MEDIAN ms", "MAX ms");
    std::string text = line.data();
    for (const Outage& it : outages) {
        std::snprintf(line.data(),
                      line.size(),
                      "%-28s %6zu %10lld %10lld\n",
                      it.kind.c_str(),
                      it.count,
                      static_cast<long long>(it.median_ms),
                      static_cast<long long>(it.max_ms));
        text += line.data();
    }
    return text;
}

}  // namespace gantry::chaos
