// SPDX-License-Identifier: Apache-2.0
#include "client/core/nameservers.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDialLimit{500};  // of one attempt at a server that is not connected
constexpr milliseconds kPause{20};       // between attempts

}  // namespace

struct Nameservers::Attempt {
    Question question;
    milliseconds hold{0};
    SteadyTime deadline;
    OnAnswer done;
};

Nameservers::Nameservers(LoopSlot& slot, std::vector<std::string> addresses)
    : slot_(slot), owner_(slot.new_owner()), addresses_(std::move(addresses)) {}

void Nameservers::ask(Question question, milliseconds timeout, milliseconds hold, OnAnswer done) {
    auto attempt = std::make_shared<Attempt>();
    attempt->question = std::move(question);
    attempt->hold = hold;
    attempt->deadline = std::chrono::steady_clock::now() + timeout + hold;
    attempt->done = std::move(done);
    start(std::move(attempt));
}

void Nameservers::ask_one(const std::string& address,
                          const Question& question,
                          milliseconds timeout,
                          OnAnswer done) {
    net::Request request{question.code, question.fields.get(), question.body};
    channel(address).call(std::move(request),
                          timeout,
                          [address, answer = std::move(done)](
                              Result<net::Received>& result) mutable { answer(result, address); });
}

net::Channel& Nameservers::channel(const std::string& address) {
    return slot_.fail_fast_channel(address, owner_);
}

std::size_t Nameservers::pick() {
    for (std::size_t i = 0; i < addresses_.size(); ++i) {
        const std::size_t at = (current_ + i) % addresses_.size();
        if (channel(addresses_[at]).is_up()) {
            return at;
        }
    }
    return current_;
}

void Nameservers::start(std::shared_ptr<Attempt> attempt) {
    const std::size_t at = pick();
    net::Channel& server = channel(addresses_[at]);
    const auto left = std::chrono::duration_cast<milliseconds>(attempt->deadline -
                                                               std::chrono::steady_clock::now());
    milliseconds limit = left;
    if (addresses_.size() > 1) {
        limit = server.is_up() ? std::max(attempt->hold + kDialLimit,
                                          left / static_cast<int>(addresses_.size()))
                               : kDialLimit;
    }
    limit = std::clamp(limit, milliseconds{1}, std::max(left, milliseconds{1}));
    net::Request request{
        attempt->question.code, attempt->question.fields.get(), attempt->question.body};
    server.call(std::move(request),
                limit,
                [this, attempt = std::move(attempt), at](Result<net::Received>& result) {
                    finish_attempt(attempt, result, at);
                });
}

void Nameservers::finish_attempt(const std::shared_ptr<Attempt>& attempt,
                                 Result<net::Received>& result,
                                 std::size_t at) {
    if (!result) {
        report_failure(addresses_[at]);
    }
    const bool is_late = std::chrono::steady_clock::now() + kPause >= attempt->deadline;
    if (result || is_late || result.error().code == Errc::kClosed) {
        attempt->done(result, addresses_[at]);
        return;
    }
    paused_.push_back(attempt);
    if (pause_timer_ == nullptr) {
        pause_timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { resume_paused(); });
    }
    pause_timer_->start_once(kPause);
}

void Nameservers::resume_paused() {
    for (std::shared_ptr<Attempt>& attempt : std::exchange(paused_, {})) {
        start(std::move(attempt));
    }
}

void Nameservers::report_failure(const std::string& address) {
    if (addresses_[current_] == address) {
        current_ = (current_ + 1) % addresses_.size();
    }
}

void Nameservers::stop() {
    pause_timer_.reset();
    for (const std::shared_ptr<Attempt>& attempt : std::exchange(paused_, {})) {
        Result<net::Received> result = Error{Errc::kClosed, "the client is shutting down"};
        attempt->done(result, addresses_[current_]);
    }
}

}  // namespace gantry::client
