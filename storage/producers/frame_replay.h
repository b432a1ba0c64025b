// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "protocol/wire/record.h"
#include "protocol/wire/send_number.h"
#include "storage/types.h"

#include <optional>
#include <string>

namespace gantry::storage {

class ProducerTable;

/// Puts the records that a start walks together to the frames they were stored in: tells a frame
/// that the log's end has torn, and the numbered ones to the table of producers.
///
///   record MoreFollow | record MoreFollow | record      one frame
///   record MoreFollow | record MoreFollow | (end)       torn: stored all or none, so none
///
/// Threads   one. Lifetime: the table outlives it.
class FrameReplay {
public:
    /// Starts over; `table` knows of the frames that begin below `from`.
    void begin(ProducerTable& table, LogOffset from);

    /// Takes the next whole record of the log, [at, end).
    void take(const wire::Record& record, LogOffset at, LogOffset end);

    /// What there is of the frame that is not whole in a log that ends at `end`; nothing when its
    /// last frame is.
    std::optional<Appended> torn(LogOffset end) const;

private:
    /// A frame of which more is to come.
    struct Open {
        Appended stored;
        std::string topic;
        std::int32_t queue_id = 0;
        std::optional<wire::SendNumber> number;
        std::string properties;  ///< of the first record of a numbered frame
    };

    static Open open(const wire::Record& record, LogOffset at);

    ProducerTable* table_ = nullptr;
    LogOffset from_;
    std::optional<Open> open_;
};

}  // namespace gantry::storage
