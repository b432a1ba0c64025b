// SPDX-License-Identifier: Apache-2.0
#include "broker/registrar.h"

#include "broker/context.h"
#include "broker/trace_topic.h"
#include "common/log.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"
#include "storage/topic_table.h"
#include "storage/transaction/transactions.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr std::chrono::milliseconds kCallTimeout{3'000};
constexpr int kMissedHeartbeatsMax = 5;
constexpr std::string_view kAutoCreateTopic = "TBW102";
constexpr std::int32_t kAutoCreateQueues = 8;

bool is_routed(std::string_view topic) {
    // What nobody decided about is for people to consume, traces for everybody to write.
    return topic == storage::kUndecidedTopic || topic == kTraceTopic ||
           (!wire::is_system_topic(topic) && !wire::is_internal_topic(topic));
}

}  // namespace

Registrar::Registrar(Context& context, net::EventLoop& loop)
    : context_(context),
      loop_(loop),
      heartbeat_timer_(loop, [this] { tick(); }),
      waiter_timer_(loop, [this] { check_waiters(); }) {
    for (const std::string& address : context.options.nameservers) {
        make_link(address);
    }
}

Registrar::~Registrar() {
    is_stopping_ = true;
    links_.clear();
}

void Registrar::make_link(const std::string& address) {
    auto link = std::make_unique<Link>();
    net::Channel::Options options;
    options.address = address;
    options.backoff_max = std::chrono::milliseconds(1'000);
    options.connection.idle_max = std::chrono::milliseconds(0);
    link->channel = std::make_unique<net::Channel>(loop_, options);
    link->channel->on_state([this, at = link.get()](bool is_up) { on_link_state(*at, is_up); });
    links_.push_back(std::move(link));
}

void Registrar::start() {
    if (links_.empty()) {
        return;
    }
    heartbeat_timer_.start_every(
        std::chrono::milliseconds(context_.options.nameserver_heartbeat_ms));
    for (const auto& link : links_) {
        send_full(*link);
    }
}

void Registrar::on_link_state(Link& link, bool is_up) {
    if (is_stopping_) {
        return;
    }
    kLog.info(is_up ? "nameserver_connected" : "nameserver_lost",
              {{"address", link.channel->address()}});
    set_registered(link, false);
    if (is_up) {
        send(link);
    }
    check_waiters();
}

void Registrar::set_registered(Link& link, bool is_registered) {
    if (link.is_registered == is_registered) {
        return;
    }
    link.is_registered = is_registered;
    const auto count =
        std::count_if(links_.begin(), links_.end(), [](const auto& l) { return l->is_registered; });
    registered_count_.store(static_cast<std::size_t>(count), std::memory_order_release);
    if (is_registered) {
        kLog.info("registered", {{"nameserver", link.channel->address()}});
    }
}

void Registrar::topic_put(const wire::TopicConfig& config) {
    if (is_routed(config.topicname())) {
        const MutexLock lock(mutex_);
        gathered_[config.topicname()] = config;
    }
}

void Registrar::topic_deleted(const std::string& name) {
    if (is_routed(name)) {
        const MutexLock lock(mutex_);
        gathered_[name] = std::nullopt;
    }
}

void Registrar::topics_changed() {
    (void)loop_.post([this] {
        Changes changes;
        {
            const MutexLock lock(mutex_);
            changes.swap(gathered_);
        }
        if (!changes.empty() && !is_stopping_) {
            take_changes_in_loop(changes);
        }
    });
}

void Registrar::take_changes_in_loop(const Changes& changes) {
    ++change_number_;
    for (const auto& link : links_) {
        for (const auto& [name, config] : changes) {
            link->changes[name] = config;
        }
        send(*link);
    }
}

void Registrar::send(Link& link) {
    if (link.is_busy || !link.channel->is_up() || is_stopping_) {
        return;
    }
    if (!link.is_registered) {
        send_full(link);
    } else if (!link.changes.empty() || link.announced < change_number_) {
        send_delta(link);
    }
}

wire::BrokerIdentity Registrar::identity() const {
    wire::BrokerIdentity who;
    who.set_brokername(context_.options.name);
    who.set_brokeraddr(context_.address);
    who.set_clustername(context_.options.cluster);
    who.set_brokerid(broker_id(*context_.replica, context_.options.id));
    return who;
}

wire::RegisterBrokerRequest Registrar::registration() const {
    wire::RegisterBrokerRequest fields;
    fields.set_brokername(context_.options.name);
    fields.set_brokeraddr(context_.address);
    fields.set_clustername(context_.options.cluster);
    fields.set_brokerid(broker_id(*context_.replica, context_.options.id));
    std::string replication = context_.replica->replication_address();
    if (replication.empty()) {
        wire::Host host = context_.store_host;
        host.port += 1;
        replication = wire::to_string(host);
    }
    fields.set_haserveraddr(std::move(replication));
    fields.set_heartbeattimeoutmillis(kMissedHeartbeatsMax *
                                      context_.options.nameserver_heartbeat_ms);
    fields.set_epoch(context_.replica->epoch());
    return fields;
}

void Registrar::fill_topics(wire::TopicConfigTable& table) const {
    storage::StateMachine& state = context_.store->state();
    *table.mutable_dataversion() = state.topic_version();
    auto& topics = *table.mutable_topicconfigtable();
    for (wire::TopicConfig& config : state.topics()) {
        if (is_routed(config.topicname())) {
            topics[config.topicname()] = std::move(config);
        }
    }
    if (context_.options.topic_auto_create) {
        wire::TopicConfig& config = topics[std::string(kAutoCreateTopic)];
        config.set_topicname(std::string(kAutoCreateTopic));
        config.set_readqueuenums(kAutoCreateQueues);
        config.set_writequeuenums(kAutoCreateQueues);
        config.set_perm(storage::perm::kRead | storage::perm::kWrite | storage::perm::kInherit);
        config.set_topicfiltertype("SINGLE_TAG");
    }
}

void Registrar::send_full(Link& link) {
    wire::RegisterBrokerBody body;
    fill_topics(*body.mutable_topicconfigserializewrapper());
    const wire::DataVersion next = body.topicconfigserializewrapper().dataversion();
    link.changes.clear();
    const wire::RegisterBrokerRequest fields = registration();
    net::Request request;
    request.code = wire::RequestCode::kRegisterBroker;
    request.fields = &fields;
    wire::append_body(request.body, wire::Codec::kNative, body);
    call(link, std::move(request), next);
}

void Registrar::send_delta(Link& link) {
    wire::RegisterBrokerDelta body;
    *body.mutable_base() = link.known;
    *body.mutable_next() = context_.store->state().topic_version();
    const wire::DataVersion next = body.next();
    for (auto& [name, config] : link.changes) {
        if (config) {
            *body.add_changed() = *config;
        } else {
            body.add_removed(name);
        }
    }
    link.changes.clear();
    const wire::RegisterBrokerRequest fields = registration();
    net::Request request;
    request.code = wire::RequestCode::kRegisterBrokerDelta;
    request.fields = &fields;
    wire::append_body(request.body, wire::Codec::kNative, body);
    call(link, std::move(request), next);
}

void Registrar::call(Link& link, net::Request request, const wire::DataVersion& next) {
    link.is_busy = true;
    link.known = next;
    link.epoch = context_.replica->epoch();
    link.channel->call(std::move(request),
                       kCallTimeout,
                       [this, at = &link, change = change_number_](Result<net::Received>& answer) {
                           on_answer(*at, change, answer);
                       });
}

void Registrar::on_answer(Link& link, std::uint64_t change, const Result<net::Received>& answer) {
    if (is_stopping_) {
        return;
    }
    link.is_busy = false;
    if (!answer) {
        kLog.warn("registration_failed",
                  {{"nameserver", link.channel->address()}, {"error", answer.error()}});
        set_registered(link, false);
    } else if (answer->header.response() == wire::ResponseCode::kSuccess) {
        link.announced = change;
        set_registered(link, true);
        send(link);
    } else {
        kLog.warn("registration_refused",
                  {{"nameserver", link.channel->address()},
                   {"code", answer->header.code},
                   {"remark", answer->header.remark}});
        const bool was_registered = link.is_registered;
        set_registered(link, false);
        if (was_registered) {
            send(link);
        }
    }
    check_waiters();
}

void Registrar::tick() {
    if (is_stopping_) {
        return;
    }
    for (const auto& link : links_) {
        if (link->is_registered && !link->is_busy && is_outdated(*link)) {
            send_full(*link);
        } else if (link->is_registered && !link->is_busy) {
            heartbeat(*link);
        } else {
            send(*link);
        }
    }
}

bool Registrar::is_outdated(const Link& link) const {
    if (link.epoch != context_.replica->epoch()) {
        return true;
    }
    if (context_.replica->role() != ReplicaRole::kSlave) {
        return false;
    }
    const wire::DataVersion now = context_.store->state().topic_version();
    return now.counter() != link.known.counter() || now.timestamp() != link.known.timestamp();
}

void Registrar::heartbeat(Link& link) {
    const wire::BrokerIdentity fields = identity();
    net::Request request;
    request.code = wire::RequestCode::kBrokerHeartbeat;
    request.fields = &fields;
    link.channel->call(
        std::move(request), kCallTimeout, [this, at = &link](Result<net::Received>& answer) {
            if (is_stopping_ || !answer ||
                answer->header.response() == wire::ResponseCode::kSuccess) {
                return;
            }
            kLog.warn("heartbeat_refused",
                      {{"nameserver", at->channel->address()},
                       {"code", answer->header.code},
                       {"remark", answer->header.remark}});
            set_registered(*at, false);
            send(*at);
        });
}

void Registrar::when_announced(UniqueFunction<void()> done) {
    if (links_.empty()) {
        (void)loop_.post(std::move(done));
        return;
    }
    (void)loop_.post([this, done = std::move(done)]() mutable {
        const SteadyTime deadline = context_.clock.steady() + kAnnounceWait;
        waiters_.push_back({change_number_, std::move(done), deadline});
        waiter_timer_.start_once(kAnnounceWait);
        check_waiters();
    });
}

void Registrar::check_waiters() {
    const SteadyTime now = context_.clock.steady();
    for (auto at = waiters_.begin(); at != waiters_.end();) {
        const bool is_known = std::all_of(links_.begin(), links_.end(), [&](const auto& link) {
            return !link->channel->is_up() ||
                   (link->is_registered && link->announced >= at->change);
        });
        if (is_known || now >= at->deadline || is_stopping_) {
            UniqueFunction<void()> done = std::move(at->done);
            at = waiters_.erase(at);
            done();
        } else {
            ++at;
        }
    }
    if (!waiters_.empty()) {
        constexpr std::chrono::milliseconds kGranularity{10};
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(waiters_.front().deadline - now);
        waiter_timer_.start_once(std::max(left, kGranularity));
    }
}

void Registrar::unregister(UniqueFunction<void()> done) {
    auto shared = std::make_shared<UniqueFunction<void()>>(std::move(done));
    if (!loop_.post([this, shared] { unregister_in_loop(shared); })) {
        (*shared)();
    }
}

void Registrar::unregister_in_loop(const std::shared_ptr<UniqueFunction<void()>>& done) {
    is_stopping_ = true;
    heartbeat_timer_.cancel();
    check_waiters();
    // `last` runs `done` when the answers of all links, or their failures, have dropped it.
    const std::shared_ptr<void> last(nullptr, [done](void*) { (*done)(); });
    const wire::BrokerIdentity fields = identity();
    for (const auto& link : links_) {
        if (!link->channel->is_up()) {
            continue;
        }
        net::Request request;
        request.code = wire::RequestCode::kUnregisterBroker;
        request.fields = &fields;
        link->channel->call(std::move(request), kAnnounceWait, [last](Result<net::Received>&) {});
    }
}

}  // namespace gantry::broker
