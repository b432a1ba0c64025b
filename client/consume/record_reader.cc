// SPDX-License-Identifier: Apache-2.0
#include "client/consume/record_reader.h"

#include "client/consume/decompress.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"

#include <utility>

namespace gantry::client {
namespace {

std::string_view trim(std::string_view text) noexcept {
    const std::size_t first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// A body of its own, and the answer that the rest of the message points into.
struct OwnedBody {
    std::shared_ptr<const void> answer;
    std::string body;
};

}  // namespace

Result<TagFilter> TagFilter::parse(std::string_view expression) {
    constexpr std::string_view kOr = "||";
    TagFilter filter;
    const std::string_view whole = trim(expression);
    if (whole.empty() || whole == "*") {
        return filter;
    }
    std::string_view rest = whole;
    while (true) {
        const std::size_t end = rest.find(kOr);
        const std::string_view tag = trim(rest.substr(0, end));
        if (!tag.empty()) {
            filter.tags_.emplace(tag);
        }
        if (end == std::string_view::npos) {
            break;
        }
        rest.remove_prefix(end + kOr.size());
    }
    if (filter.tags_.empty()) {
        return Error{Errc::kRefused, "expression \"" + std::string(expression) + "\" has no tag"};
    }
    return filter;
}

bool RecordReader::next(MessageView& message) {
    if (rest_.empty()) {
        return false;
    }
    const Result<wire::Record> record = wire::parse_record(rest_);
    if (!record) {
        status_ = record.error();
        rest_ = {};
        return false;
    }
    message.origin_ = origin_;
    message.record_ = rest_.data();
    message.topic_ = record->topic;
    message.body_ = as_text(record->body);
    message.properties_ = record->properties;
    if ((record->sys_flag & wire::sys_flag::kCompressed) != 0) {
        decompress(*record, message);
    }
    if (record->topic.starts_with(wire::kRetryPrefix)) {
        const std::string_view origin = message.property(wire::property::kRetryTopic);
        message.topic_ = origin.empty() ? message.topic_ : origin;
    }
    rest_ = rest_.subspan(record->stored_bytes);
    return true;
}

void RecordReader::decompress(const wire::Record& record, MessageView& message) {
    Result<std::string> body = decompress_body(record.body, record.sys_flag);
    if (!body) {
        return;
    }
    auto owned = std::make_shared<OwnedBody>();
    owned->answer = origin_->pin;
    owned->body = std::move(*body);
    message.body_ = owned->body;
    message.origin_ = std::make_shared<const ReceivedBody>(ReceivedBody{owned, origin_->broker});
}

std::size_t RecordReader::read(std::vector<MessageView>& into,
                               std::size_t count_max,
                               const TagFilter& filter) {
    std::size_t count = 0;
    MessageView message;
    while (count < count_max && next(message)) {
        if (filter.matches(message)) {
            into.push_back(std::move(message));
            ++count;
        }
    }
    return count;
}

}  // namespace gantry::client
