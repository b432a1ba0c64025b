// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/queue_notices.h"

#include <optional>

namespace gantry::broker {
namespace {

constexpr Logger kLog("broker");

}  // namespace

bool QueueNotices::tell(QueueNotice notice) {
    std::optional<std::uint64_t> left_out;
    {
        const MutexLock lock(mutex_);
        if (told_.size() >= kKnownMax) {
            told_.clear();
        }
        if (!told_.insert(notice).second) {
            return false;
        }
        left_out = rate_.take(clock_.steady());
    }
    if (!left_out) {
        return false;
    }
    kLog.warn(event_,
              {{"group", notice.group},
               {"topic", notice.topic},
               {"queue", notice.queue},
               {"from", notice.from.value},
               {"to", notice.to.value},
               {"lines_left_out", *left_out}});
    return true;
}

}  // namespace gantry::broker
