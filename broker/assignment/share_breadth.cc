// SPDX-License-Identifier: Apache-2.0
#include "broker/assignment/share_breadth.h"

#include <algorithm>

namespace gantry::broker {

ShareBreadth::ShareBreadth(std::string_view type, std::string_view expression) {
    if (type.empty() || type == "TAG") {
        if (Result<TagFilter> tags = parse_tag_expression(expression)) {
            tags_ = std::move(*tags);
            return;
        }
    }
    condition_ = std::string(type) + ' ' + std::string(expression);
}

bool ShareBreadth::covers(const ShareBreadth& other) const {
    if (!condition_.empty() || !other.condition_.empty()) {
        return condition_ == other.condition_ || (condition_.empty() && tags_ == nullptr);
    }
    if (tags_ == nullptr || other.tags_ == nullptr) {
        return tags_ == nullptr;
    }
    return std::includes(tags_->begin(), tags_->end(), other.tags_->begin(), other.tags_->end());
}

}  // namespace gantry::broker
