// SPDX-License-Identifier: Apache-2.0
#include "client/produce/send_frame.h"

#include "protocol/wire/message_id.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::chrono::milliseconds kAvoidFirst{50};
constexpr std::chrono::milliseconds kAvoidMax{5'000};
constexpr std::uint32_t kAvoidDoublingsMax = 7;
constexpr std::size_t kOffsetHexBytes = 16;  // the log offset at the end of a message id
constexpr std::size_t kPooledMax = 256;
constexpr std::size_t kGoneMax = 64;  // places of frames that left, before the rest moves up
constexpr std::size_t kPooledSendsMax = 4'096;  // vectors that grew larger go back to the heap

}  // namespace

void SendBroker::set_address(const std::string& master) {
    address = master;
    id_prefix.clear();
    store_v6 = !address.empty() && address.front() == '[';
    if (const Result<wire::Host> host = wire::parse_host(address); host) {
        id_prefix = wire::format_message_id({*host, LogOffset{0}});
        id_prefix.resize(id_prefix.size() - kOffsetHexBytes);
    }
}

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

FramePtr FrameQueue::pop_front() {
    FramePtr frame = std::move(frames_[front_++]);
    if (empty() || (front_ >= kGoneMax && front_ >= size())) {
        frames_.erase(frames_.begin(), begin());
        front_ = 0;
    }
    return frame;
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
