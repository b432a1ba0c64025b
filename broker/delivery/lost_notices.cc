// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/lost_notices.h"

#include "common/log.h"

#include <utility>

namespace gantry::broker {
namespace {

constexpr Logger kLog("broker");

}  // namespace

bool LostNotices::tell(LostNotice notice) {
    const SteadyTime now = clock_.steady();
    std::uint64_t left_out = 0;
    {
        const MutexLock lock(mutex_);
        if (told_.size() >= kKnownMax) {
            told_.clear();
        }
        if (!told_.insert(notice).second) {
            return false;
        }
        if (lines_ == 0 || now - second_ >= std::chrono::seconds(1)) {
            second_ = now;
            lines_ = 0;
        }
        if (lines_ == kLinesMax) {
            ++left_out_;
            return false;
        }
        ++lines_;
        left_out = std::exchange(left_out_, 0);
    }
    kLog.warn("consumer told of lost messages",
              {{"group", notice.group},
               {"topic", notice.topic},
               {"queue", notice.queue},
               {"from", notice.from.value},
               {"to", notice.to.value},
               {"lines_left_out", left_out}});
    return true;
}

}  // namespace gantry::broker
