// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consumer.h"
#include "common/log.h"

#include <exception>

namespace gantry::client {

/// What the application's listener says of the messages; kLater when it throws, which is logged.
template <class Listener, class Messages>
ConsumeResult call_listener(const Listener& listener, const Messages& messages) {
    constexpr Logger log("client");
    try {
        return listener(messages);
    } catch (const std::exception& e) {
        log.error("listener_threw", {{"what", e.what()}});
    } catch (...) {
        log.error("listener_threw", {{"what", "something that is no std::exception"}});
    }
    return ConsumeResult::kLater;
}

}  // namespace gantry::client
