// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/delivery/cold_replies.h"
#include "broker/delivery/long_poll.h"
#include "broker/delivery/offset_commits.h"
#include "broker/delivery/pending_acks.h"
#include "broker/flow/flow_gate.h"
#include "broker/flow/flow_wakes.h"
#include "broker/peer.h"
#include "broker/pop/pop_parking.h"
#include "common/random.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/codes.h"
#include "protocol/wire/message.pb.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace gantry::broker {

struct Context;

/// Everything that belongs to one event loop: its connections, acknowledgements that wait for the
/// disk or for other copies, parked pulls and pops, and the offsets committed in this pass. At the
/// end of a pass it logs the offsets, asks for one flush, and wakes the parked pulls that the pass
/// fed.
///
/// Threads   the loop's thread, but for post(), on_store_progress() and reply_from_anywhere().
/// Lifetime  outlives its connections; destroyed after its loop has stopped.
class LoopState final : public net::PassEnd {
public:
    /// Who answers what is parked on a loop.
    struct Readers {
        ParkedReader& pulls;
        PopReader& pops;
    };

    LoopState(Context& context, net::EventLoop& loop, std::size_t index, const Readers& readers);
    ~LoopState() override;

    std::size_t index() const noexcept { return index_; }

    net::EventLoop& loop() noexcept { return loop_; }

    /// Runs `task` on this loop; dropped when it has stopped.
    void post(net::Task task);

    /// Takes in a connection that opened. The peer's id says the loop and is never used again; the
    /// reference holds until remove_peer().
    Peer& add_peer(net::Connection& connection);
    /// Drops the peer of a closed connection and its parked pulls.
    void remove_peer(PeerId id);
    /// The living peer of that id on this loop, or null.
    Peer* find_peer(PeerId id);

    /// Answers a request whose frame is gone; dropped when its connection is.
    void reply(const Addressee& to,
               wire::ResponseCode code,
               std::string_view remark,
               const google::protobuf::Message* fields = nullptr,
               std::string_view body = {});
    /// Answers with the code of the error's class, and counts it.
    void fail(const Addressee& to, const Error& error);
    /// As fail(to, error), but stock peers get `stock`, with the fields RocketMQ sends beside it.
    void fail(const Addressee& to,
              const Error& error,
              wire::ResponseCode stock,
              const google::protobuf::Message* fields);

    /// To be called before a message is appended. kBusy: the disk does not keep up, and as much
    /// waits for it as the limits allow.
    Status room_for_message() const;
    /// Why what has to be in replication.in_sync_min copies cannot be, now; nothing: it can.
    std::optional<std::string> lacks_copies() const;
    /// To be called after every append: wakes who waits for `queue` once readers may see `end`.
    void appended(const storage::Queue& queue, LogOffset end);
    /// Sync mode: asks for a flush at the end of the pass, though nobody waits for it.
    void want_flush();
    /// Tries the pulls parked on a topic's queues again, on every loop.
    void topic_changed(const storage::Topic& topic);

    /// What sends to the topic wait for: its attribute "replication", else replication.acks.
    AckAt ack_at(const storage::Topic& topic) const noexcept;
    /// What everything else waits for: replication.acks.
    AckAt ack_at() const noexcept;
    /// Whether that is reached by every append: flush async, and no other copy to wait for.
    bool is_acked_at_once(AckAt at) const noexcept;
    /// Whether it has reached `end`.
    bool is_acked(AckAt at, LogOffset end) const noexcept;
    /// Calls `done` when the watermark has reached `end`, or with kUnknown when it will not: the
    /// store takes no writes any more, or this broker is no longer the master.
    void when_acked(AckAt at, LogOffset end, PendingAcks::Done done);
    /// The same for what is no send.
    void when_durable(LogOffset end, PendingAcks::Done done);
    /// Answers a native send once the watermark has reached its end, without a function object.
    void acknowledge_send(const Addressee& to, const storage::Appended& appended, AckAt at);

    /// Parks a pull that found nothing.
    void park(PullQuery query);

    /// Parks a pop that found nothing.
    void park(PopQuery query) { pop_parking_.park(std::move(query)); }

    /// Tries the pops parked on a topic again, at the end of this pass.
    void touch_pops(std::string_view topic);

    /// The store's watermarks moved: releases acknowledgements and pulls soon. Any thread.
    void on_store_progress();

    /// Asks for on_pass_end() at the end of this pass; asking again changes nothing.
    void want_pass_end();
    void on_pass_end() override;

    /// Answers what is parked or unacknowledged as well as can be, for a clean stop.
    void answer_all();

    /// Whether anybody waits for messages. Any thread.
    bool has_parked() const noexcept {
        return long_poll_.has_parked() || pop_parking_.has_parked();
    }

    bool has_pending_acks() const noexcept { return pending_acks() > 0; }

    ColdReplies& cold_replies() noexcept { return cold_replies_; }

    LongPoll& long_poll() noexcept { return long_poll_; }

    PopParking& pop_parking() noexcept { return pop_parking_; }

    FlowGate& flow() noexcept { return flow_; }

    FlowWakes& flow_wakes() noexcept { return flow_wakes_; }

    OffsetCommits& offsets() noexcept { return offsets_; }

    Random& random() noexcept { return random_; }

    /// Reused from request to request: no allocation on the hot path.
    wire::SendRecordsRequest send_request;
    wire::SendRecordsResponse send_response;
    wire::PullMessageRequest pull_request;
    wire::PullMessageResponse pull_response;

private:
    PendingAcks& acks(AckAt at) noexcept { return acks_[static_cast<std::size_t>(at)]; }

    std::size_t pending_acks() const noexcept { return acks_[0].size() + acks_[1].size(); }

    LogOffset reached(AckAt at) const noexcept;
    std::string why_unknown() const;
    void release_acks();
    void release_acks_to(AckAt at, LogOffset end, const Status& status);
    void fail_acks(const std::string& reason);
    void count_pending();
    void release_readers();
    void touch(const storage::Queue* queue);
    void touch_own(const storage::Queue* queue);
    void reply_to_send(const PendingAcks::Send& send, const Status& status);

    Context& context_;
    net::EventLoop& loop_;
    const std::size_t index_;
    PeerId next_peer_ = 1;
    std::unordered_map<PeerId, std::unique_ptr<Peer>> peers_;
    Random random_;
    std::array<PendingAcks, 2> acks_;   ///< by AckAt
    std::int64_t pending_counted_ = 0;  ///< of acks_, as the gauge has them
    OffsetCommits offsets_;
    FlowGate flow_;
    LongPoll long_poll_;
    PopParking pop_parking_;
    ColdReplies cold_replies_;
    FlowWakes flow_wakes_;
    /// Appended or asked for, but not yet visible to readers: end offset and queue, in log order.
    std::deque<std::pair<LogOffset, const storage::Queue*>> unconfirmed_;
    /// Queues fed in this pass that other loops have parked pulls for.
    std::vector<std::vector<const storage::Queue*>> for_others_;
    std::atomic<bool> is_progress_posted_{false};
    bool wants_flush_ = false;
};

}  // namespace gantry::broker
