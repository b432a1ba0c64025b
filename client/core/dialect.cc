// SPDX-License-Identifier: Apache-2.0
#include "client/core/dialect.h"

#include "client/core/awaited.h"
#include "client/core/loop_slot.h"
#include "common/log.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kLimit{3'000};

Result<Dialect> dialect_of(const Result<net::Received>& answer) {
    if (!answer) {
        return answer.error();
    }
    return answer->header.language == wire::Language::kCpp ? Dialect::kGantry : Dialect::kRocketMq;
}

Result<Dialect> ask(LoopSlot& slot, const std::string& nameserver, milliseconds limit) {
    net::Channel::Options options;
    options.address = nameserver;
    options.codec = wire::Codec::kJson;
    options.fail_fast = true;
    std::unique_ptr<net::Channel> channel;
    Result<Dialect> told = wait_for<Result<Dialect>>([&](auto done) {
        auto shared = std::make_shared<decltype(done)>(std::move(done));
        slot.run_and_wait([&] {
            channel = std::make_unique<net::Channel>(slot.loop(), options);
            channel->call(
                {wire::RequestCode::kGetBrokerClusterInfo, nullptr, {}},
                limit,
                [shared](Result<net::Received>& answer) { (*shared)(dialect_of(answer)); });
        });
    });
    slot.run_and_wait([&channel] { channel.reset(); });
    return told;
}

}  // namespace

Result<Dialect> detect_dialect(LoopSlot& slot, const std::vector<std::string>& nameservers) {
    const milliseconds limit = kLimit / std::max<int>(1, static_cast<int>(nameservers.size()));
    Error last{Errc::kGone, "no nameserver"};
    for (const std::string& nameserver : nameservers) {
        const Result<Dialect> told = ask(slot, nameserver, limit);
        if (told) {
            kLog.info("dialect_detected",
                      {{"nameserver", nameserver}, {"dialect", name_of(*told)}});
            return told;
        }
        last = told.error();
    }
    return Error{last.code, "dialect detect: no nameserver has answered; the last: " + last.detail};
}

}  // namespace gantry::client
