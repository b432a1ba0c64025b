// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace gantry::client {

/// Which messages of a topic a consumer wants. The brokers filter: what is not wanted is not sent.
///
///   MessageSelector{}                                    everything
///   MessageSelector::by_tag("created || paid")           by tag
///   MessageSelector::by_sql("amount > 100 AND eu = TRUE")  by properties
///
/// The expressions are in docs/guide/filters.md.
class MessageSelector {
public:
    /// The language of the expression.
    enum class Kind : std::uint8_t { kTag, kSql };

    MessageSelector() = default;

    /// "*", or tags joined by "||".
    static MessageSelector by_tag(std::string expression) {
        return {Kind::kTag, std::move(expression)};
    }

    /// A condition over the messages' properties.
    static MessageSelector by_sql(std::string expression) {
        return {Kind::kSql, std::move(expression)};
    }

    Kind kind() const noexcept { return kind_; }

    const std::string& expression() const noexcept { return expression_; }

private:
    MessageSelector(Kind kind, std::string expression)
        : kind_(kind), expression_(std::move(expression)) {}

    Kind kind_ = Kind::kTag;
    std::string expression_ = "*";
};

}  // namespace gantry::client
