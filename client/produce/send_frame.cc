// SPDX-License-Identifier: Apache-2.0
#include "client/produce/send_frame.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::chrono::milliseconds kAvoidFirst{50};
constexpr std::chrono::milliseconds kAvoidMax{5'000};
constexpr std::uint32_t kAvoidDoublingsMax = 7;
constexpr std::size_t kPooledMax = 256;
constexpr std::size_t kPooledSendsMax = 4'096;  // vectors that grew larger go back to the heap

}  // namespace

void SendBroker::succeeded() noexcept {
    failures = 0;
    is_probing = false;
}

void SendBroker::failed(SteadyTime now) noexcept {
    is_probing = false;
    avoid_until =
        now + std::min(kAvoidMax, kAvoidFirst * (1 << std::min(failures, kAvoidDoublingsMax)));
    ++failures;
}

void Lane::put_back(FramePtr frame) {
    const auto later =
        std::find_if(waiting.begin(), waiting.end(), [&frame](const FramePtr& other) {
            return other->sequence > frame->sequence;
        });
    waiting.insert(later, std::move(frame));
}

FramePtr FramePool::take() {
    FramePtr frame;
    if (free_.empty()) {
        frame = std::make_unique<Frame>();
    } else {
        frame = std::move(free_.back());
        free_.pop_back();
    }
    frame->sequence = ++next_sequence_;
    return frame;
}

void FramePool::give(FramePtr frame) {
    if (free_.size() >= kPooledMax || frame->sends.capacity() > kPooledSendsMax) {
        return;
    }
    std::vector<Outgoing> sends = std::move(frame->sends);
    sends.clear();
    *frame = Frame{};
    frame->sends = std::move(sends);
    free_.push_back(std::move(frame));
}

}  // namespace gantry::client
