// SPDX-License-Identifier: Apache-2.0
#include "client/consumer.h"
#include "protocol/wire/share.pb.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

namespace gantry::client::test {
namespace {

/// The shares of one member that a fake broker deals out as the test says.
///
/// Threads   the test's; each method goes to the broker's loop by itself.
class FakeShares {
public:
    explicit FakeShares(FakeCluster& cluster) : cluster_(cluster), broker_(cluster.broker()) {
        cluster_.run([this] {
            broker_.on_other = [state = state_, &at = broker_](const net::Received& frame) {
                return take(*state, at, frame);
            };
        });
    }

    /// Queues of "T" to tokens; those of `revoked` are to be given back.
    void set(const std::map<int, std::int64_t>& tokens, const std::set<int>& revoked = {}) {
        cluster_.run([&] {
            state_->tokens = tokens;
            state_->revoked = revoked;
            ++state_->generation;
            answer_parked(*state_, broker_);
        });
    }

    void share_by_clients(bool does) {
        cluster_.run([&] {
            state_->by_clients = does;
            ++state_->generation;
            answer_parked(*state_, broker_);
        });
    }

    void set_heartbeat(std::int64_t ms) {
        cluster_.run([&] { state_->heartbeat_ms = ms; });
    }

    /// Answers nothing until told otherwise.
    void set_mute(bool is_mute) {
        cluster_.run([&] {
            state_->is_mute = is_mute;
            answer_parked(*state_, broker_);
        });
    }

    /// Offsets with which queues were given back.
    std::map<int, std::int64_t> released() {
        return cluster_.run([&] { return state_->released; });
    }

    wire::ShareQueuesRequest last() {
        return cluster_.run([&] { return state_->last; });
    }

    bool has_left() {
        return cluster_.run([&] { return state_->has_left; });
    }

    /// Commits there were when the member left.
    std::uint64_t commits_at_leave() {
        return cluster_.run([&] { return state_->commits_at_leave; });
    }

private:
    struct State {
        std::map<int, std::int64_t> tokens;
        std::set<int> revoked;
        std::map<int, std::int64_t> released;
        std::optional<net::ReplyTo> parked;
        wire::ShareQueuesRequest last;
        std::int64_t generation = 1;
        std::int64_t heartbeat_ms = 60'000;
        std::uint64_t commits_at_leave = 0;
        bool by_clients = false;
        bool is_mute = false;
        bool has_left = false;
    };

    static void answer(State& state, FakeBroker& at, const net::ReplyTo& to) {
        wire::ShareQueuesResponse fields;
        fields.set_generation(state.generation);
        fields.set_byclients(state.by_clients);
        fields.set_heartbeatms(state.heartbeat_ms);
        for (const auto& [number, token] : state.tokens) {
            wire::SharedQueue& queue = *fields.add_queues();
            queue.set_topic("T");
            queue.set_queueid(number);
            queue.set_token(token);
            queue.set_revoked(state.revoked.count(number) != 0);
        }
        at.reply(to, wire::ResponseCode::kSuccess, &fields);
    }

    static void answer_parked(State& state, FakeBroker& at) {
        if (state.parked && !state.is_mute) {
            answer(state, at, *std::exchange(state.parked, std::nullopt));
        }
    }

    static bool take(State& state, FakeBroker& at, const net::Received& frame) {
        if (frame.header.request() != wire::RequestCode::kShareQueues) {
            return false;
        }
        wire::ShareQueuesRequest fields;
        static_cast<void>(wire::decode_fields(frame.header, fields));
        state.last = fields;
        for (const wire::SharedQueue& queue : fields.released()) {
            const auto found = state.tokens.find(queue.queueid());
            if (found != state.tokens.end() && found->second == queue.token()) {
                state.tokens.erase(found);
                state.released[queue.queueid()] = queue.offset();
                ++state.generation;
            }
        }
        if (fields.leaves()) {
            state.has_left = true;
            state.commits_at_leave = at.commit_requests;
            answer(state, at, net::reply_to(frame));
            return true;
        }
        state.parked = net::reply_to(frame);
        if (fields.generation() != state.generation) {
            answer_parked(state, at);
        }
        return true;
    }

    FakeCluster& cluster_;
    FakeBroker& broker_;
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// A push consumer of topic "T" that shares by the broker, and what its listener got.
struct Member {
    explicit Member(FakeCluster& cluster, std::chrono::milliseconds hand_over_limit = 30s)
        : consumer(PushConsumer::create(cluster.connect(), options(hand_over_limit)).value()) {
        REQUIRE(consumer->subscribe("T"));
        REQUIRE(consumer->start([this](std::span<const MessageView> messages) {
            for (const MessageView& message : messages) {
                const std::lock_guard lock(mutex);
                bodies.emplace_back(message.body());
            }
            while (is_stuck) {
                std::this_thread::yield();
            }
            return ConsumeResult::kSuccess;
        }));
    }

    ~Member() { is_stuck = false; }

    static PushConsumer::Options options(std::chrono::milliseconds hand_over_limit) {
        PushConsumer::Options options;
        options.group = "G";
        options.start_from.kind = StartFrom::Kind::kFirst;
        options.commit_interval = 20ms;
        options.poll_hold = 1s;
        options.hand_over_limit = hand_over_limit;
        return options;
    }

    std::set<int> queues() const {
        std::set<int> numbers;
        for (const QueueId& queue : consumer->assignment()) {
            if (queue.topic == "T") {
                numbers.insert(queue.queue);
            }
        }
        return numbers;
    }

    std::size_t count() {
        const std::lock_guard lock(mutex);
        return bodies.size();
    }

    std::mutex mutex;
    std::vector<std::string> bodies;
    std::atomic<bool> is_stuck{false};
    std::unique_ptr<PushConsumer> consumer;
};

void store(FakeCluster& cluster, int queue, int count) {
    cluster.run([&] {
        for (int i = 0; i < count; ++i) {
            cluster.broker().store("T", queue, std::to_string(queue) + "-" + std::to_string(i));
        }
    });
}

std::int64_t committed(FakeCluster& cluster, int queue) {
    return cluster.run([&] {
        const auto& known = cluster.broker().committed["G"];
        const auto found = known.find({"T", queue});
        return found == known.end() ? std::int64_t{-1} : found->second;
    });
}

using Set = std::set<int>;

}  // namespace

TEST_SUITE("client/broker_shares") {
    TEST_CASE("a member reads what it is granted, no more, and commits under the grant") {
        FakeCluster cluster;
        FakeShares shares(cluster);
        cluster.create_topic("T", 4);
        store(cluster, 0, 5);
        store(cluster, 1, 5);
        Member member(cluster);
        shares.set({{1, 71}});
        CHECK(wait_until([&] { return member.queues() == Set{1} && member.count() == 5; }));
        CHECK(wait_until([&] { return committed(cluster, 1) == 5; }));
        CHECK(cluster.run([&] { return cluster.broker().commit_tokens[{"T", 1}]; }) == 71);
        CHECK(committed(cluster, 0) == -1);
        const wire::ShareQueuesRequest last = shares.last();
        CHECK(last.consumergroup() == "G");
        CHECK(last.topics_size() == 1);  // the fake makes no retry topic
        CHECK(last.topics(0).isonlyhere());
        shares.set({{0, 72}, {1, 71}});
        CHECK(wait_until([&] { return member.queues() == Set{0, 1} && member.count() == 10; }));
    }

    TEST_CASE("what is revoked is finished, given back with its offset, and read no more") {
        FakeCluster cluster;
        FakeShares shares(cluster);
        cluster.create_topic("T", 2);
        Member member(cluster);
        shares.set({{0, 71}, {1, 72}});
        REQUIRE(wait_until([&] { return member.queues() == Set{0, 1}; }));
        member.is_stuck = true;
        store(cluster, 0, 5);
        REQUIRE(wait_until([&] { return member.count() == 1; }));
        shares.set({{0, 71}, {1, 72}}, {0});
        store(cluster, 0, 5);
        // It says so only when the listener is done.
        REQUIRE(wait_until([&] { return shares.last().generation() == 3; }));
        CHECK(shares.released().empty());
        member.is_stuck = false;
        CHECK(wait_until([&] { return shares.released() == std::map<int, std::int64_t>{{0, 1}}; }));
        CHECK(wait_until([&] { return member.queues() == Set{1}; }));
        store(cluster, 1, 3);
        CHECK(wait_until([&] { return member.count() == 4; }));
        CHECK(wait_until([&] { return shares.last().held_size() == 1; }));
        CHECK(committed(cluster, 0) <= 1);
    }

    TEST_CASE("a listener that does not end holds a queue no longer than the limit") {
        FakeCluster cluster;
        FakeShares shares(cluster);
        cluster.create_topic("T", 1);
        Member member(cluster, 50ms);
        shares.set({{0, 71}});
        REQUIRE(wait_until([&] { return member.queues() == Set{0}; }));
        member.is_stuck = true;
        store(cluster, 0, 5);
        REQUIRE(wait_until([&] { return member.count() == 1; }));
        shares.set({{0, 71}}, {0});
        CHECK(wait_until([&] { return shares.released() == std::map<int, std::int64_t>{{0, 0}}; }));
        CHECK(member.queues().empty());
        member.is_stuck = false;
    }

    TEST_CASE("what is lost without a word, or granted anew, begins again where it was committed") {
        FakeCluster cluster;
        FakeShares shares(cluster);
        cluster.create_topic("T", 1);
        Member member(cluster);
        shares.set({{0, 71}});
        store(cluster, 0, 3);
        REQUIRE(wait_until([&] { return committed(cluster, 0) == 3; }));
        shares.set({});
        CHECK(wait_until([&] { return member.queues().empty(); }));
        // Somebody else has gone on, and died.
        cluster.run([&] { cluster.broker().committed["G"][{"T", 0}] = 2; });
        shares.set({{0, 80}});
        CHECK(wait_until([&] { return member.count() == 4 && committed(cluster, 0) == 3; }));
        cluster.run([&] { cluster.broker().committed["G"][{"T", 0}] = 1; });
        shares.set({{0, 81}});
        CHECK(wait_until([&] { return member.count() >= 5; }));
    }

    TEST_CASE("who has not heard from the broker for two heartbeats hands nothing out") {
        FakeCluster cluster;
        FakeShares shares(cluster);
        cluster.create_topic("T", 1);
        shares.set_heartbeat(100);
        Member member(cluster);
        shares.set({{0, 71}});
        store(cluster, 0, 3);
        REQUIRE(wait_until([&] { return member.count() == 3; }));
        shares.set_mute(true);
        const auto silent = std::chrono::steady_clock::now();
        REQUIRE(wait_until([&] { return std::chrono::steady_clock::now() - silent > 300ms; }));
        store(cluster, 0, 3);
        // It is fetched; that it stays where it is, only time can show.
        const auto fetched = std::chrono::steady_clock::now();
        CHECK(wait_until([&] { return std::chrono::steady_clock::now() - fetched > 200ms; }));
        CHECK(member.count() == 3);
        shares.set_heartbeat(60'000);
        shares.set_mute(false);
        CHECK(wait_until([&] { return member.count() == 6; }));
    }

    TEST_CASE("told to compute, members share as others do, and say what they read") {
        FakeCluster cluster;
        FakeShares shares(cluster);
        cluster.create_topic("T", 4);
        Member member(cluster);
        shares.set({{1, 71}});
        REQUIRE(wait_until([&] { return member.queues() == Set{1}; }));
        shares.share_by_clients(true);
        CHECK(wait_until([&] { return member.queues() == Set{0, 1, 2, 3}; }));
        CHECK(wait_until([&] { return shares.last().held_size() == 4; }));
        CHECK(shares.last().held(0).token() == 0);
        // Back again: what is granted goes on, the rest ends.
        store(cluster, 2, 3);
        REQUIRE(wait_until([&] { return member.count() == 3; }));
        cluster.run([&] { cluster.broker().committed["G"].clear(); });
        shares.set({{2, 90}});
        shares.share_by_clients(false);
        CHECK(wait_until([&] { return member.queues() == Set{2}; }));
        store(cluster, 2, 1);
        CHECK(wait_until([&] { return member.count() == 4; }));
    }

    TEST_CASE("one that stops has committed before it leaves") {
        FakeCluster cluster;
        FakeShares shares(cluster);
        cluster.create_topic("T", 1);
        Member member(cluster);
        shares.set({{0, 71}});
        store(cluster, 0, 50);
        REQUIRE(wait_until([&] { return member.count() > 10; }));
        member.consumer->stop();
        CHECK(shares.has_left());
        CHECK(committed(cluster, 0) == static_cast<std::int64_t>(member.count()));
        CHECK(shares.commits_at_leave() ==
              cluster.run([&] { return cluster.broker().commit_requests; }));
    }

    TEST_CASE("messages deleted before they were read are told as lost") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store(cluster, 0, 10);
        cluster.run([&] {
            cluster.broker().committed["G"][{"T", 0}] = 2;
            cluster.broker().truncate_below("T", 0, 6);
        });
        std::mutex mutex;
        std::vector<LostMessages> told;
        PushConsumer::Options options = Member::options(1s);
        options.on_lost = [&](const LostMessages& lost) {
            const std::lock_guard lock(mutex);
            told.push_back(lost);
        };
        const auto consumer = PushConsumer::create(cluster.connect(), options).value();
        REQUIRE(consumer->subscribe("T"));
        std::atomic<int> received{0};
        REQUIRE(consumer->start([&](std::span<const MessageView> messages) {
            received += static_cast<int>(messages.size());
            return ConsumeResult::kSuccess;
        }));
        CHECK(wait_until([&] { return received == 4; }));
        const std::lock_guard lock(mutex);
        REQUIRE(told.size() == 1);
        CHECK(told[0].from == 2);
        CHECK(told[0].to == 6);
        CHECK(told[0].reason == LostReason::kOutOfRange);
    }

    TEST_CASE("a pull consumer cannot hand over, and says so") {
        FakeCluster cluster;
        PullConsumer::Options options;
        options.group = "G";
        options.sharing = Sharing::by_broker();
        const auto made = PullConsumer::create(cluster.connect(), options);
        REQUIRE_FALSE(made.has_value());
        CHECK(made.error().code == Errc::kRefused);
    }
}

}  // namespace gantry::client::test
