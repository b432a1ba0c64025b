// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/core/routes.h"
#include "client/message.h"
#include "client/message_selector.h"
#include "client/share/share_holder.h"
#include "common/clock.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace gantry::wire {
class ShareQueuesRequest;
class ShareQueuesResponse;
}  // namespace gantry::wire

namespace gantry::client {

class Runtime;

/// The queues that brokers grant to this member of a group, each broker its own. One request to
/// each is always out; the broker holds it until the share changes. The answer says all the member
/// has there, and what it must give back: the holder ends reading that, finishes what it handed
/// out, and the next request gives it back with the offset.
///
/// Threads   the control loop.
/// Errors    a broker that is away keeps its queues with this member; the lease that the holder is
///           told ends by itself. One that does not know the request does not rule its queues.
/// Lifetime  kept alive by requests that are out; silent after end or leave.
class BrokerShares : public std::enable_shared_from_this<BrokerShares> {
public:
    using Then = UniqueFunction<void()>;

    /// The member.
    struct Options {
        std::string group;
        std::map<std::string, MessageSelector> subscriptions;  ///< by topic
        std::int64_t subscription_version = 0;
        std::chrono::milliseconds hand_over_limit{30'000};
    };

    /// `on_change`: collect gives something else; true: so does rules.
    BrokerShares(Runtime& runtime,
                 Options options,
                 std::weak_ptr<ShareHolder> holder,
                 std::function<void(bool)> on_change);
    ~BrokerShares();
    BrokerShares(const BrokerShares&) = delete;
    BrokerShares& operator=(const BrokerShares&) = delete;

    /// Asks every broker that the routes now know.
    void follow();
    /// What this member would read by its own computing.
    void set_computed(const std::set<QueueId>& queues);
    /// Whether the broker says who reads its queues; also when it has not yet spoken.
    bool rules(const std::string& broker) const;
    /// Adds what is granted and not to be given back.
    void collect(std::set<QueueId>& into) const;
    /// Gives all back; `then` when the brokers have answered or failed.
    void leave(Then then);
    /// Ends without a word.
    void end();

private:
    enum class Mode { kUnknown, kByBroker, kByClients };

    struct Topic {
        std::string name;
        std::int32_t queues_before = 0;
        bool is_only_here = true;

        bool operator==(const Topic&) const = default;
    };

    struct Held {
        std::int64_t token = 0;
        std::optional<SteadyTime> drains_until;
        std::optional<std::int64_t> released;  ///< offset
    };

    struct Link {
        std::string broker;
        Mode mode = Mode::kUnknown;
        std::vector<Topic> topics;
        std::map<QueueId, Held> held;
        std::set<QueueId> computed;
        std::int64_t generation = 0;
        std::chrono::milliseconds heartbeat{5'000};
        std::uint64_t asked = 0;  ///< only the answer to the last one counts
        SteadyTime asked_at;
        std::uint32_t failures = 0;
        std::unique_ptr<net::Timer> timer;
    };

    std::map<std::string, std::vector<Topic>> topics_by_broker() const;
    wire::ShareQueuesRequest request_of(const Link& link) const;
    void ask(Link& link);
    void ask_after(Link& link, std::chrono::milliseconds pause);
    void answered(Link& link, const Result<wire::ShareQueuesResponse>& answer);
    void failed(Link& link, const Error& error);
    void rule_by_clients(Link& link);
    void take(Link& link, const wire::ShareQueuesResponse& answer);
    void drop_lost(Link& link, const std::map<QueueId, std::int64_t>& granted);
    void revoke(Link& link, const QueueId& queue);
    void drain();

    Runtime& runtime_;
    const Options options_;
    const std::weak_ptr<ShareHolder> holder_;
    std::function<void(bool)> on_change_;
    std::map<std::string, std::unique_ptr<Link>> links_;  // by broker
    std::unique_ptr<net::Timer> drain_timer_;
    bool is_draining_ = false;
    bool has_ended_ = false;
};

}  // namespace gantry::client
