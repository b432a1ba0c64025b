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
constexpr std::size_t kPooledSendsMax = 4'096;  // vectors that grew larger go back to the heap

}  // namespace

Error Frame::told(const Error& error) const {
    if (!is_unknown || error.code == Errc::kTimeout || error.code == Errc::kUnknown) {
        return error;
    }
    return {Errc::kUnknown, "an earlier attempt was not answered; " + to_string(error)};
}

void SendBroker::set_address(const std::string& master) {
    address = master;
    release = 0;
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

FrameQueue& FrameQueue::operator=(FrameQueue&& other) noexcept {
    if (this != &other) {
        while (!empty()) {
            pop_front();
        }
        first_ = std::move(other.first_);
        last_ = std::exchange(other.last_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

FrameQueue::~FrameQueue() {
    while (!empty()) {  // one by one: a chain that destroys itself recurses
        pop_front();
    }
}

void FrameQueue::push_back(FramePtr frame) noexcept {
    FramePtr& end = empty() ? first_ : last_->next;
    last_ = frame.get();
    end = std::move(frame);
    ++size_;
}

void FrameQueue::put_in_order(FramePtr frame) noexcept {
    FramePtr* place = &first_;
    while (*place != nullptr && (*place)->sequence < frame->sequence) {
        place = &(*place)->next;
    }
    if (*place == nullptr) {
        push_back(std::move(frame));
        return;
    }
    frame->next = std::move(*place);
    *place = std::move(frame);
    ++size_;
}

FramePtr FrameQueue::pop_front() noexcept {
    FramePtr frame = std::move(first_);
    first_ = std::move(frame->next);
    if (first_ == nullptr) {
        last_ = nullptr;
    }
    --size_;
    return frame;
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
