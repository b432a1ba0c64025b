// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/tag_filter.h"

#include "protocol/wire/properties.h"

#include <algorithm>
#include <string>

namespace gantry::broker {

namespace {

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

Result<TagFilter> parse_tag_expression(std::string_view expression) {
    expression = trim(expression);
    if (expression.empty() || expression == "*") {
        return TagFilter{};
    }
    std::vector<std::int64_t> hashes;
    std::string_view rest = expression;
    while (!rest.empty()) {
        const std::size_t bars = rest.find("||");
        const std::string_view tag = trim(rest.substr(0, bars));
        if (!tag.empty()) {
            hashes.push_back(wire::tag_hash(tag));
        }
        rest = bars == std::string_view::npos ? std::string_view{} : rest.substr(bars + 2);
    }
    if (hashes.empty()) {
        return Error{Errc::kRefused,
                     "the expression '" + std::string(expression) + "' names no tag"};
    }
    std::sort(hashes.begin(), hashes.end());
    hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
    return std::make_shared<const std::vector<std::int64_t>>(std::move(hashes));
}

}  // namespace gantry::broker
