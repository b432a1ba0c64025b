// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/pop_consumer.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/net/connection.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client {

class LoopSlot;
class Runtime;

/// What one receipt is about: messages of one queue that one pop brought.
struct PopReceiptKey {
    std::string broker;
    std::string topic;
    std::int32_t queue = 0;
    WallMs pop_ms = 0;

    auto operator<=>(const PopReceiptKey&) const = default;
};

/// A run of messages under one receipt.
struct PopRun {
    PopReceiptKey receipt;
    std::int64_t from = 0;
    std::int64_t end = 0;
};

/// The runs that messages form, neighbours together.
std::vector<PopRun> runs_of(std::span<const PoppedMessage> messages);

/// Tells brokers what became of popped messages: what is said in one pass of the loop travels in
/// one request a broker and topic. What does not arrive is said again, until `patience` is over.
///
/// Threads   settle, wait_settled: any.
/// Lifetime  requests under way hold it.
class PopSettler : public std::enable_shared_from_this<PopSettler> {
public:
    /// What is said of a run: done, or to be kept from others for a time.
    struct Fate {
        std::optional<std::chrono::milliseconds> invisible{};  ///< nothing: done
        bool is_undelivered = false;
    };

    PopSettler(Runtime& runtime,
               LoopSlot& slot,
               std::string group,
               std::chrono::milliseconds patience);

    /// Has brokers told; returns at once.
    void settle(std::vector<PopRun> runs, const Fate& fate);
    /// False: something is not said by `deadline`.
    bool wait_settled(SteadyTime deadline);

private:
    struct Item {
        PopRun run;
        Fate fate;
        SteadyTime deadline;
    };

    using Items = std::vector<Item>;

    void post_send();
    void send_in_loop();
    void send_in_loop(const std::string& topic, const std::string& address, Items items);
    void answered(Items& items, Result<net::Received>& result, const std::string& address);
    void again(Items items, const Error& why);
    void done_with(std::size_t count);

    Runtime& runtime_;
    LoopSlot& slot_;
    const std::string group_;
    const std::chrono::milliseconds patience_;
    Counter& acked_;
    Counter& stale_;
    Counter& given_up_;

    Mutex mutex_;
    std::condition_variable changed_;
    Items items_ GANTRY_GUARDED_BY(mutex_);
    std::size_t unsettled_ GANTRY_GUARDED_BY(mutex_) = 0;  ///< items, those under way included
    bool is_posted_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::client
