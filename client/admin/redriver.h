// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin/admin_calls.h"
#include "client/admin/dead_letter_copies.h"
#include "client/admin/dead_letter_pages.h"
#include "client/admin_client.h"
#include "common/result.h"
#include "protocol/wire/record.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::client {

/// Redrives dead letters, a page at a time:
///
///   read 32 -> send their copies -> all acknowledged -> commit the offset behind them
///
/// Interrupted between any two steps, the next redrive begins at the committed offset: none is left
/// out, and what is sent twice was in one page.
///
/// Threads   one, not a loop's.
class Redriver {
public:
    /// `what` and `report` outlive it.
    Redriver(AdminCalls& calls, const Redrive& what, RedriveReport& report)
        : calls_(calls), what_(what), report_(report) {}

    /// Redrives what is wanted of these queues. kNotFound: an offset or id was asked for that is
    /// not there.
    Status run(std::vector<DeadLetterSource> sources);

private:
    Status run_queue(const DeadLetterSource& source);
    Status choose_range(const DeadLetterSource& source);
    Status find_target(const DeadLetterSource& source);
    Status run_page(const DeadLetterSource& source, const DeadLetterPage& page);
    Status send(const DeadLetterSource& source,
                const std::vector<DeadLetterCopy>& copies,
                const std::vector<std::int64_t>& offsets);
    Status commit(const DeadLetterSource& source, std::int64_t offset);
    bool is_wanted(const wire::Record& record) const;

    bool wants_all() const noexcept { return !what_.offset && what_.message_id.empty(); }

    AdminCalls& calls_;
    const Redrive& what_;
    RedriveReport& report_;
    std::string target_topic_;
    std::string target_address_;
    std::int64_t at_ = 0;         ///< in the queue at work
    std::int64_t end_ = 0;        ///< what dies again meanwhile is not sent again
    std::int64_t committed_ = 0;  ///< of the queue at work
    std::uint64_t looked_at_ = 0;
};

}  // namespace gantry::client
