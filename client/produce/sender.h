// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/core/routes.h"
#include "client/produce/record_writer.h"
#include "client/produce/send_frame.h"
#include "client/produce/topic_sender.h"
#include "client/producer.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/random.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/message.pb.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace gantry::client {

class LoopSlot;
class Runtime;
class Tracer;

/// Where the caller wants a message.
struct SendTarget {
    SendKind kind = SendKind::kFree;
    std::uint64_t key_hash = 0;
    const QueueId* queue = nullptr;  ///< kQueue
};

/// A producer's engine. Messages go from the caller's thread through an inbox, one wake-up for as
/// many as have gathered, or straight from the loop thread, into the gathering frame of their
/// queue's lane; frames leave at the end of the pass, encoded as stored records.
///
/// Threads   accept, flush, close, set_selector: any. The rest: the slot's loop.
/// Lifetime  kept alive by requests that are out; does nothing after close.
class Sender final : public net::PassEnd, public std::enable_shared_from_this<Sender> {
public:
    Sender(Runtime& runtime, LoopSlot& slot, const Producer::Options& options);
    /// Before start: what becomes of messages is told to `tracer`.
    void trace_by(std::shared_ptr<Tracer> tracer);
    ~Sender() override;

    /// Joins heartbeats and route changes; once, before anything else.
    void start();
    /// As Producer::send_async.
    Status accept(Message message, const SendTarget& target, Producer::Done done);
    /// As Producer::set_selector.
    void set_selector(Producer::Selector selector);
    /// As Producer::flush.
    Status flush(std::chrono::milliseconds limit);
    /// As Producer::close.
    Status close(std::chrono::milliseconds drain_limit);

    void on_pass_end() override;

private:
    /// While one lives, callbacks may be running: flush does not return.
    class Completing {
    public:
        explicit Completing(Sender& sender);
        ~Completing();
        Completing(const Completing&) = delete;
        Completing& operator=(const Completing&) = delete;

    private:
        Sender& sender_;
    };

    struct Inbox {
        std::vector<Parked> items;
        bool is_woken = false;
    };

    bool is_idle() const noexcept { return in_flight_.load() == 0 && !is_completing_.load(); }

    Status take_slot();
    Status charge(std::uint32_t bytes);  ///< gives the slot back on an error
    void discharge(const Outgoing& outgoing);
    void notify_if_drained();
    void wake_loop();
    void drain_inbox_in_loop();
    void enqueue_in_loop(Parked& parked);
    void place_in_loop(TopicSender& topic, Parked& parked);
    Result<Lane*> choose_in_loop(TopicSender& topic, Parked& parked);
    void add_in_loop(Lane& lane, Outgoing& outgoing);
    void mark_busy_in_loop(Lane& lane);
    void pump_in_loop(Lane& lane);
    bool is_due_in_loop(Lane& lane, const Frame& frame);
    void dispatch_in_loop(Lane& lane);
    void wake_held_in_loop(SendBroker& broker);
    void encode_in_loop(const Frame& frame, std::string& body);
    std::chrono::milliseconds attempt_limit_in_loop(const Frame& frame) const;
    void answered_in_loop(FramePtr frame, Result<net::Received>& result);
    void stored_in_loop(Frame& frame, const wire::SendRecordsResponse& answer);
    void failed_in_loop(FramePtr frame, Error error);
    static bool has_moved(const Frame& frame) noexcept;
    void limited_in_loop(FramePtr frame, const Error& error, std::chrono::milliseconds wait);
    bool may_retry(const Frame& frame, const Error& error) const noexcept;
    std::chrono::milliseconds pause_in_loop(const Frame& frame);
    void retry_in_loop(FramePtr frame, const Error& error);
    void put_back_in_loop(Lane& lane, FramePtr frame);
    void fail_all_in_loop(Frame& frame, const Error& error);
    // Of an idempotent producer, in sender_numbers.cc.
    void number_in_loop(Lane& lane, Frame& frame) const;
    bool may_leave_in_loop(Lane& lane);
    void begin_epoch_in_loop(Lane& lane);
    void misnumbered_in_loop(FramePtr frame, const Error& error, bool is_early);
    static void take_back_number_in_loop(Frame& frame);
    void repeat_in_loop(FramePtr frame, const Error& error);
    void move_unnumbered_in_loop(Lane& lane);
    void expire_in_loop(TopicSender& topic, SteadyTime now);
    void complete_in_loop(Outgoing& outgoing, Result<SendReceipt>&& result);
    TopicSender& topic_in_loop(const std::string& topic);
    void ask_route_in_loop(TopicSender& topic);
    void routed_in_loop(TopicSender& topic, const Result<RoutePtr>& route);
    void route_changed_in_loop(const RoutePtr& route);
    void set_route_in_loop(TopicSender& topic, const RoutePtr& route);
    void move_frames_in_loop(TopicSender& topic, Lane& dropped);
    SendBroker& broker_in_loop(const BrokerRoute& route);
    void wake_moved_in_loop();
    void arm_in_loop(SteadyTime due);
    void tick_in_loop();
    void shut_in_loop();

    Runtime& runtime_;
    LoopSlot& slot_;
    const Producer::Options options_;
    const std::uint32_t frames_in_flight_max_;
    const std::uint64_t channel_owner_;
    const std::uint64_t producer_id_;  // of the numbers of its sends
    const MessageLimits limits_;
    std::shared_ptr<Tracer> tracer_;           // null: nothing is traced
    std::atomic<std::uint64_t> in_flight_{0};  // messages accepted, not completed
    std::atomic<bool> is_closed_{false};
    std::atomic<bool> is_completing_{false};
    std::atomic<bool> has_inbox_{false};
    std::atomic<int> flushes_{0};

    Mutex mutex_;
    Inbox inbox_ GANTRY_GUARDED_BY(mutex_);
    Mutex drained_mutex_;
    std::condition_variable drained_;

    // The rest belongs to the loop.
    std::pmr::monotonic_buffer_resource topics_memory_;  // near each other: fewer pages to know
    std::pmr::unordered_map<std::string, TopicSender> topics_{&topics_memory_};
    TopicSender* last_topic_ = nullptr;
    std::map<std::string, std::unique_ptr<SendBroker>> brokers_;
    std::vector<Lane*> busy_;
    std::vector<Lane*> pumping_;
    std::vector<Frame*> flying_;
    std::vector<Parked> draining_;
    FramePool pool_;
    Producer::Selector selector_;
    RecordWriter writer_;
    Random random_;
    std::unique_ptr<net::Timer> timer_;
    SteadyTime timer_due_;
    RouteTable::SubscriptionId subscription_ = 0;
    int completing_depth_ = 0;
    bool is_draining_ = false;
    bool is_shut_ = false;
    Counter& stored_count_;
    Counter& failed_count_;
    Counter& frame_count_;
    Counter& retry_count_;
    Counter& limited_count_;
};

}  // namespace gantry::client
