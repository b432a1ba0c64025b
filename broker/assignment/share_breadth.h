// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/delivery/tag_filter.h"

#include <string>
#include <string_view>

namespace gantry::broker {

/// How much of a topic a member wants, to be compared with what others want.
class ShareBreadth {
public:
    /// Everything.
    ShareBreadth() = default;
    /// A subscription's expressionType ("", "TAG" or another language) and expression.
    ShareBreadth(std::string_view type, std::string_view expression);

    /// Whether who wants this certainly wants all that `other` does. Of two conditions in another
    /// language than tags that is known only when they are the same text.
    bool covers(const ShareBreadth& other) const;

    bool operator==(const ShareBreadth& other) const {
        return covers(other) && other.covers(*this);
    }

private:
    TagFilter tags_;         ///< null: everything, if there is no condition
    std::string condition_;  ///< with the name of its language
};

}  // namespace gantry::broker
