// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/bytes.h"
#include "common/result.h"
#include "protocol/wire/record.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// What the messages of one answer share.
struct ReceivedBody {
    std::shared_ptr<const void> pin;  ///< keeps the bytes alive
    std::string broker;
};

/// A subscription's expression, for the check by exact text behind the broker's check by hash.
class TagFilter {
public:
    TagFilter() = default;

    /// "*" or "": everything; else tags joined by "||". kRefused: no tag in it.
    static Result<TagFilter> parse(std::string_view expression);

    bool matches(const MessageView& message) const {
        return tags_.empty() || tags_.count(message.tag()) != 0;
    }

    const std::set<std::string, std::less<>>& tags() const noexcept { return tags_; }

private:
    std::set<std::string, std::less<>> tags_;
};

/// Queue offsets [from, to) whose messages are lost.
struct LostRun {
    std::int64_t from = 0;
    std::int64_t to = 0;
    LostReason reason = LostReason::kDamagedInStore;
};

/// Part of a queue as one pull brought it: whole records, not parsed yet, or what is lost.
struct Chunk {
    Bytes records;
    std::shared_ptr<const ReceivedBody> origin;
    std::int64_t next_offset = 0;   ///< where the queue goes on behind it
    std::uint64_t epoch = 0;        ///< of the fetcher when it asked
    std::uint64_t bytes = 0;        ///< charged for it
    std::optional<LostRun> lost{};  ///< then there are no records
};

/// Cuts stored records into messages, without copying them.
///
/// Errors    bytes that are no record end the reading: status() says why. A body that does not
///           decompress is handed out as it is.
class RecordReader {
public:
    explicit RecordReader(Bytes records, std::shared_ptr<const ReceivedBody> origin)
        : rest_(records), origin_(std::move(origin)) {}

    /// The next message; false at the end.
    bool next(MessageView& message);

    /// Appends up to `count_max` messages that match; returns how many.
    std::size_t read(std::vector<MessageView>& into,
                     std::size_t count_max,
                     const TagFilter& filter);

    /// What is not read yet.
    Bytes rest() const noexcept { return rest_; }

    const Status& status() const noexcept { return status_; }

private:
    void decompress(const wire::Record& record, MessageView& message);

    Bytes rest_;
    std::shared_ptr<const ReceivedBody> origin_;
    Status status_ = ok();
};

}  // namespace gantry::client
