// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"
#include "storage/damage/lost_messages.h"
#include "storage/repair/mender.h"
#include "storage/store_parts.h"

#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

}  // namespace

void Store::Parts::damage_found(LogOffset from, LogOffset to, std::string why) {
    if (from >= to) {
        return;
    }
    const auto known = lost->snapshot();
    const LostRange* const covering = find_lost(*known, from, to);
    if (covering != nullptr && covering->from <= from && covering->to >= to) {
        return;
    }
    LostRangeList ranges{{from, to, clock.wall_ms(), 0, std::move(why)}};
    const std::vector<LostMessages> messages = find_lost_messages(*queues, ranges);
    const Result<LostRangeList> added = lost->add(ranges);
    if (!added) {
        kLog.error("the list of lost ranges cannot be written", {{"reason", added.error()}});
    }
    if (!added || !added->empty()) {
        mender->wake();
        tell_lost("while running", added ? *added : ranges, messages);
    }
}

}  // namespace gantry::storage
