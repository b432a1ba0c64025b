// SPDX-License-Identifier: Apache-2.0
#include "client/consume/loss_teller.h"

#include <chrono>
#include <exception>
#include <optional>
#include <utility>

namespace gantry::client {
namespace {

constexpr Logger kLog("client");

}  // namespace

LossTeller::LossTeller(MetricRegistry& metrics, OnLost on_lost)
    : on_lost_(std::move(on_lost)),
      lost_count_(metrics.counter("gantry_client_lost_messages_total",
                                  "Messages told as lost to the application")) {}

void LossTeller::tell(const LostMessages& lost) {
    lost_count_.add(static_cast<std::uint64_t>(lost.to - lost.from));
    log(lost);
    if (!on_lost_) {
        return;
    }
    try {
        on_lost_(lost);
    } catch (const std::exception& e) {
        kLog.error("on_lost_threw", {{"what", e.what()}});
    } catch (...) {
        kLog.error("on_lost_threw", {{"what", "something that is no std::exception"}});
    }
}

void LossTeller::log(const LostMessages& lost) {
    std::optional<std::uint64_t> left_out;
    {
        const MutexLock lock(mutex_);
        left_out = rate_.take(std::chrono::steady_clock::now());
    }
    if (!left_out) {
        return;
    }
    kLog.error("messages_lost",
               {{"topic", lost.queue.topic},
                {"broker", lost.queue.broker},
                {"queue", lost.queue.queue},
                {"from", lost.from},
                {"to", lost.to},
                {"reason", name_of(lost.reason)},
                {"lines_left_out", *left_out}});
}

}  // namespace gantry::client
