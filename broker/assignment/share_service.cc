// SPDX-License-Identifier: Apache-2.0
#include "broker/assignment/share_service.h"

#include "broker/dispatcher.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {
namespace {

using std::chrono::milliseconds;
using wire::RequestCode;
using wire::ResponseCode;

/// How often silence is looked for, in parts of a heartbeat.
constexpr int kSweepParts = 20;
constexpr milliseconds kSweepMin{10};

ShareHolding holding_of(const wire::SharedQueue& queue) {
    return {queue.topic(), queue.queueid(), queue.token(), false};
}

ShareAsk ask_of(const wire::ShareQueuesRequest& request, PeerId peer) {
    ShareAsk ask;
    ask.group = request.consumergroup();
    ask.client_id = request.clientid();
    ask.peer = peer;
    ask.generation = request.generation();
    ask.leaves = request.leaves();
    for (const auto& topic : request.topics()) {
        ask.topics.push_back({topic.topic(),
                              static_cast<std::size_t>(std::max(topic.queuesbefore(), 0)),
                              topic.isonlyhere(),
                              ShareBreadth(topic.expressiontype(), topic.expression())});
    }
    for (const wire::SharedQueue& queue : request.held()) {
        ask.held.push_back(holding_of(queue));
    }
    for (const wire::SharedQueue& queue : request.released()) {
        ask.released.push_back(holding_of(queue));
    }
    return ask;
}

Status check_count(const char* field, int count, int max) {
    if (count > max) {
        return Error{Errc::kRefused,
                     std::string(field) + " has " + std::to_string(count) + " entries > " +
                         std::to_string(max)};
    }
    return ok();
}

}  // namespace

void ShareService::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kShareQueues, *this, &ShareService::share);
    dispatcher.add(RequestCode::kListShares, *this, &ShareService::list);
}

void ShareService::open(LoopState& loop) {
    ShareCoordinator::Options options;
    options.heartbeat = milliseconds(context_.options.share_heartbeat_ms);
    options.queues_of = [this](const std::string& name) {
        storage::Topic* const topic = context_.store->find_topic(name);
        const bool is_readable =
            topic != nullptr && (topic->perm() & storage::perm::kRead) != 0 && !topic->is_deleted();
        return is_readable ? topic->read_queues() : 0;
    };
    options.view_of = [this](const std::string& group) { return context_.groups.view(group); };
    for (const wire::SubscriptionGroupConfig& config : context_.store->state().groups()) {
        options.groups_at_start.insert(config.groupname());
    }
    timer_ = std::make_unique<net::Timer>(loop.loop(), [this] { sweep(); });
    const MutexLock lock(mutex_);
    coordinator_ = std::make_unique<ShareCoordinator>(context_.clock, std::move(options));
}

void ShareService::start() {
    timer_->start_every(
        std::max(milliseconds(context_.options.share_heartbeat_ms) / kSweepParts, kSweepMin));
}

void ShareService::stop() {
    timer_->cancel();
}

Status ShareService::check(const wire::ShareQueuesRequest& request) const {
    GANTRY_TRY(wire::check_group_name(request.consumergroup()));
    if (request.clientid().empty() || request.clientid().size() > wire::kTopicBytesMax) {
        return Error{Errc::kRefused,
                     "clientID of " + std::to_string(request.clientid().size()) +
                         " B is outside 1.." + std::to_string(wire::kTopicBytesMax)};
    }
    GANTRY_TRY(check_count("topics", request.topics_size(), kNamesMax));
    GANTRY_TRY(check_count("held", request.held_size(), kQueuesMax));
    GANTRY_TRY(check_count("released", request.released_size(), kQueuesMax));
    for (const auto& topic : request.topics()) {
        GANTRY_TRY(wire::check_topic_name(topic.topic()));
    }
    return ok();
}

void ShareService::share(Call& call, const wire::ShareQueuesRequest& request) {
    if (!call.is_native()) {
        call.fail(ResponseCode::kRequestCodeNotSupported, "10060 is spoken natively only");
        return;
    }
    if (const Status checked = check(request); !checked) {
        call.fail(checked.error());
        return;
    }
    ShareAsk ask = ask_of(request, call.peer.id);
    bool commits = false;
    for (const wire::SharedQueue& queue : request.released()) {
        const storage::Topic* const topic = context_.store->find_topic(queue.topic());
        const bool is_known =
            topic != nullptr && queue.queueid() >= 0 && queue.queueid() < topic->read_queues();
        if (queue.offset() >= 0 && is_known &&
            may_commit(ask.group, queue.topic(), queue.queueid(), queue.token())) {
            call.loop.offsets().put({ask.group, queue.topic(), queue.queueid(), queue.offset()});
            commits = true;
        }
    }
    if (!commits) {
        take(std::move(ask), call.addressee());
        return;
    }
    call.loop.offsets().acknowledge(
        [this, ask = std::move(ask), to = call.addressee(), &loop = call.loop](
            const Status& status) mutable {
            // The owner keeps what it could not commit, and tries again.
            if (status) {
                take(std::move(ask), to);
            } else {
                loop.fail(to, status.error());
            }
        });
}

void ShareService::take(ShareAsk ask, const Addressee& to) {
    const MemberId member(ask.group, ask.client_id);
    std::vector<Reply> replies;
    {
        const MutexLock lock(mutex_);
        // An older request of the same member has waited for the same.
        if (auto older = unpark(member)) {
            replies.push_back(std::move(*older));
        }
        const ShareCoordinator::Changed changed = coordinator_->ask(ask);
        for (Reply& reply : unpark_all(changed)) {
            replies.push_back(std::move(reply));
        }
        Share share = coordinator_->share_of(member);
        if (ask.leaves || share.generation != ask.generation || context_.is_stopping.load()) {
            replies.push_back({to, std::move(share)});
        } else {
            const milliseconds hold(context_.options.share_heartbeat_ms / 2);
            parked_[member] = {to, context_.clock.steady() + hold};
        }
    }
    send(replies);
}

std::optional<ShareService::Reply> ShareService::unpark(const MemberId& member) {
    const auto at = parked_.find(member);
    if (at == parked_.end()) {
        return std::nullopt;
    }
    Reply reply{at->second.to, coordinator_->share_of(member)};
    parked_.erase(at);
    return reply;
}

std::vector<ShareService::Reply> ShareService::unpark_all(
    const ShareCoordinator::Changed& changed) {
    std::vector<Reply> replies;
    for (const MemberId& member : changed) {
        if (auto reply = unpark(member)) {
            replies.push_back(std::move(*reply));
        }
    }
    context_.counters.shares.granted.add(coordinator_->granted_count() - granted_told_);
    granted_told_ = coordinator_->granted_count();
    context_.counters.shares.members_expired.add(coordinator_->expired_count() - expired_told_);
    expired_told_ = coordinator_->expired_count();
    return replies;
}

void ShareService::send(const std::vector<Reply>& replies) {
    for (const Reply& reply : replies) {
        auto fields = std::make_shared<wire::ShareQueuesResponse>();
        fields->set_generation(reply.share.generation);
        fields->set_byclients(reply.share.is_by_clients);
        fields->set_heartbeatms(context_.options.share_heartbeat_ms);
        for (const ShareHolding& holding : reply.share.queues) {
            wire::SharedQueue& queue = *fields->add_queues();
            queue.set_topic(holding.topic);
            queue.set_queueid(holding.queue_id);
            queue.set_token(holding.token);
            queue.set_revoked(holding.is_revoked);
        }
        LoopState& loop = *context_.loops[static_cast<std::size_t>(reply.to.peer & kPeerLoopMask)];
        loop.post([&loop, to = reply.to, fields] {
            loop.reply(to, ResponseCode::kSuccess, {}, fields.get());
        });
    }
}

void ShareService::sweep() {
    std::vector<Reply> replies;
    {
        const MutexLock lock(mutex_);
        replies = unpark_all(coordinator_->sweep());
        const SteadyTime now = context_.clock.steady();
        for (auto at = parked_.begin(); at != parked_.end();) {
            if (at->second.until > now) {
                ++at;
                continue;
            }
            replies.push_back({at->second.to, coordinator_->share_of(at->first)});
            at = parked_.erase(at);
        }
    }
    send(replies);
}

void ShareService::group_changed(const std::string& group) {
    std::vector<Reply> replies;
    {
        const MutexLock lock(mutex_);
        if (coordinator_ == nullptr) {
            return;  // a slave grants nothing
        }
        replies = unpark_all(coordinator_->group_changed(group));
    }
    send(replies);
}

void ShareService::connection_closed(PeerId peer) {
    const MutexLock lock(mutex_);
    if (coordinator_ == nullptr) {
        return;
    }
    coordinator_->peer_closed(peer);
    std::erase_if(parked_, [peer](const auto& each) { return each.second.to.peer == peer; });
}

bool ShareService::may_commit(std::string_view group,
                              std::string_view topic,
                              std::int32_t queue_id,
                              std::int64_t token) {
    if (token == 0) {
        return true;
    }
    bool may = false;
    {
        const MutexLock lock(mutex_);
        may = coordinator_->may_commit(group, topic, queue_id, token);
    }
    context_.counters.shares.commits_fenced.add(may ? 0U : 1U);
    return may;
}

void ShareService::list(Call& call, const wire::ListSharesRequest& request) {
    wire::ShareList body;
    {
        const MutexLock lock(mutex_);
        body.set_byclients(coordinator_->is_by_clients(request.consumergroup()));
        for (const ShareCoordinator::Owned& owned : coordinator_->owners(request.consumergroup())) {
            wire::ShareList::Share& share = *body.add_shares();
            share.set_topic(owned.queue.topic);
            share.set_queueid(owned.queue.queue_id);
            share.set_clientid(owned.client_id);
            share.set_token(owned.queue.token);
            share.set_revoked(owned.queue.is_revoked);
        }
    }
    call.reply_body(body);
}

}  // namespace gantry::broker
