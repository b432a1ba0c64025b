// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/selector_check.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/pop/pop_holds.h"
#include "client/pop/pop_settler.h"
#include "client/pop_consumer.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::client {

class Runtime;

/// A PopConsumer's engine: one pop under way for each topic and broker, while there is room for
/// what it brings; a buffer that poll and the listener's threads take from; acknowledgements and
/// renewals.
///
/// Threads   as PopConsumer; members marked "loop" belong to the slot's loop.
/// Lifetime  requests under way hold it; join() ends its timer.
class PopEngine : public std::enable_shared_from_this<PopEngine> {
public:
    using Options = PopConsumer::Options;

    PopEngine(Runtime& runtime, LoopSlot& slot, const Options& options);
    ~PopEngine();
    PopEngine(const PopEngine&) = delete;
    PopEngine& operator=(const PopEngine&) = delete;

    /// Follows routes and renews; once, before anything else.
    void start();
    /// As PopConsumer's.
    Status subscribe(const std::string& topic, const MessageSelector& selector);
    std::vector<PoppedMessage> poll(std::chrono::milliseconds wait, std::size_t count_max);
    void ack(std::span<const PoppedMessage> messages);
    void give_back(std::span<const PoppedMessage> messages, std::chrono::milliseconds delay);
    void renew(std::span<const PoppedMessage> messages, std::chrono::milliseconds invisible);
    Status flush(std::chrono::milliseconds limit);
    Status listen(PopConsumer::Listener listener);
    Status close(std::chrono::milliseconds limit);
    /// Waits for the threads; after close.
    void join();

private:
    /// What pops one topic from one broker. Loop.
    struct Source {
        bool is_asking = false;
        bool is_waiting = false;  ///< a pause after what failed
        std::uint32_t failures = 0;
        SteadyTime asked_at{};
    };

    using SourceKey = std::pair<std::string, std::string>;  ///< topic, broker

    void find_sources_in_loop();
    void ask_all_in_loop();
    void ask_in_loop(const SourceKey& key, Source& source);
    void answered_in_loop(const SourceKey& key, Result<net::Received>& result);
    void failed_in_loop(const SourceKey& key, const Error& why);
    void pause_in_loop(const SourceKey& key, std::chrono::milliseconds pause);
    void take_in_loop(const SourceKey& key,
                      const net::Received& received,
                      WallMs pop_ms,
                      const TagFilter& filter);
    void renew_in_loop();
    void work();
    bool has_room();
    void resume();
    void settle(std::span<const PoppedMessage> messages, const PopSettler::Fate& fate);

    Runtime& runtime_;
    LoopSlot& slot_;
    const Options options_;
    std::shared_ptr<PopSettler> settler_;
    PopHolds holds_;
    Counter& received_;
    Counter& corrupt_;
    RouteTable::SubscriptionId routes_ = 0;
    std::unique_ptr<net::Timer> renew_timer_;  ///< loop
    std::map<SourceKey, Source> sources_;      ///< loop
    PopConsumer::Listener listener_;
    std::vector<std::thread> threads_;

    Mutex mutex_;
    std::condition_variable arrived_;
    std::condition_variable changed_;
    std::map<std::string, Subscription> subscriptions_ GANTRY_GUARDED_BY(mutex_);
    std::deque<PoppedMessage> ready_ GANTRY_GUARDED_BY(mutex_);
    std::uint64_t ready_bytes_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint32_t listening_ GANTRY_GUARDED_BY(mutex_) = 0;  ///< threads of the listener
    bool is_stalled_ GANTRY_GUARDED_BY(mutex_) = false;      ///< a source waits for room
    bool is_closed_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::client
