// SPDX-License-Identifier: Apache-2.0
#include "client/pop/pop_engine.h"

#include "client/consume/listener_call.h"
#include "client/consume/record_reader.h"
#include "client/core/runtime.h"
#include "common/log.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/record.h"

#include <algorithm>
#include <set>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kSlack{5'000};    // beyond the hold until the broker counts as stuck
constexpr milliseconds kQuickEmpty{5};   // a held pop that finds nothing lasts longer
constexpr milliseconds kEmptyPause{20};  // after one that did not
constexpr milliseconds kFailurePause{20};
constexpr milliseconds kFailurePauseMax{1'000};
constexpr std::uint32_t kDoublingsMax = 6;
constexpr milliseconds kPollStep{500};
constexpr int kRenewsPerTime = 3;  // of the invisible time
constexpr milliseconds kRenewTickMin{10};

}  // namespace

PopEngine::PopEngine(Runtime& runtime, LoopSlot& slot, const Options& options)
    : runtime_(runtime),
      slot_(slot),
      options_(options),
      settler_(std::make_shared<PopSettler>(runtime, slot, options.group, options.invisible)),
      holds_(options.invisible / kRenewsPerTime, options.hold_max),
      received_(runtime.metrics().counter("gantry_client_received_messages_total",
                                          "Messages handed to the application")),
      corrupt_(runtime.metrics().counter("gantry_client_corrupt_answers_total",
                                         "Pull answers with a record that fails its checks")) {}

PopEngine::~PopEngine() = default;

void PopEngine::start() {
    routes_ = runtime_.routes().subscribe([weak = weak_from_this()](const RoutePtr&) {
        if (const std::shared_ptr<PopEngine> self = weak.lock()) {
            self->slot_.post([self] { self->find_sources_in_loop(); });
        }
    });
    if (!options_.renew) {
        return;
    }
    const milliseconds tick = std::max(options_.invisible / (2 * kRenewsPerTime), kRenewTickMin);
    slot_.run_and_wait([this, tick] {
        renew_timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { renew_in_loop(); });
        renew_timer_->start_every(tick);
    });
}

Status PopEngine::subscribe(const std::string& topic, const MessageSelector& selector) {
    GANTRY_ASSIGN_OR_RETURN(Subscription subscription, make_subscription(selector));
    const Result<RoutePtr> route = runtime_.routes().wait_for(topic);
    if (!route && route.error().code != Errc::kNotFound) {  // one that comes later is fine
        return route.error();
    }
    GANTRY_TRY(check_selector(runtime_, runtime_.control(), topic, selector));
    {
        const MutexLock lock(mutex_);
        subscriptions_[topic] = std::move(subscription);
    }
    runtime_.routes().watch(topic);
    slot_.post([self = shared_from_this()] { self->find_sources_in_loop(); });
    return ok();
}

void PopEngine::find_sources_in_loop() {
    std::vector<std::string> topics;
    {
        const MutexLock lock(mutex_);
        for (const auto& [topic, subscription] : subscriptions_) {
            topics.push_back(topic);
        }
    }
    std::set<SourceKey> wanted;
    for (const std::string& topic : topics) {
        if (const RoutePtr route = runtime_.routes().cached(topic)) {
            for (const QueueId& queue : route->read_queues) {
                wanted.emplace(topic, queue.broker);
            }
        }
    }
    std::erase_if(sources_, [&wanted](const auto& each) {
        return !wanted.contains(each.first) && !each.second.is_asking && !each.second.is_waiting;
    });
    for (const SourceKey& key : wanted) {
        sources_.try_emplace(key);
    }
    ask_all_in_loop();
}

bool PopEngine::has_room() {
    const MutexLock lock(mutex_);
    const bool has_room =
        ready_.size() < options_.buffer_messages_max && ready_bytes_ <= options_.pop_bytes_max;
    is_stalled_ = is_stalled_ || !has_room;
    return has_room && !is_closed_;
}

void PopEngine::ask_all_in_loop() {
    for (auto& [key, source] : sources_) {
        if (!source.is_asking && !source.is_waiting && has_room()) {
            ask_in_loop(key, source);
        }
    }
}

void PopEngine::ask_in_loop(const SourceKey& key, Source& source) {
    wire::PopMessageRequest fields;
    {
        const MutexLock lock(mutex_);
        const auto subscription = subscriptions_.find(key.first);
        if (is_closed_ || subscription == subscriptions_.end()) {
            return;
        }
        const MessageSelector& selector = subscription->second.selector;
        fields.set_exptype(std::string(type_of(selector)));
        fields.set_exp(selector.expression());
    }
    const std::string address = runtime_.routes().master_of(key.second);
    source.is_asking = true;
    source.asked_at = slot_.loop().pass_time();
    if (address.empty()) {
        failed_in_loop(key, Error{Errc::kGone, "no route names broker " + key.second});
        return;
    }
    fields.set_consumergroup(options_.group);
    fields.set_topic(key.first);
    fields.set_queueid(-1);
    fields.set_maxmsgnums(static_cast<std::int32_t>(options_.pop_messages_max));
    fields.set_maxmsgbytes(static_cast<std::int32_t>(options_.pop_bytes_max));
    fields.set_invisibletime(options_.invisible.count());
    fields.set_polltime(options_.poll_hold.count());
    fields.set_borntime(runtime_.clock().wall_ms());
    fields.set_initmode(options_.start_from == StartFrom::Kind::kFirst ? 0 : 1);
    slot_.channel(address).call({wire::RequestCode::kPopMessage, &fields, {}},
                                options_.poll_hold + kSlack,
                                [self = shared_from_this(), key](Result<net::Received>& result) {
                                    self->answered_in_loop(key, result);
                                });
}

void PopEngine::answered_in_loop(const SourceKey& key, Result<net::Received>& result) {
    Source& source = sources_[key];
    if (!result) {
        failed_in_loop(key, result.error());
        return;
    }
    const wire::ResponseCode code = result->header.response();
    wire::PopMessageResponse fields;
    Status status = ok();
    if (code == wire::ResponseCode::kSuccess) {
        status = wire::decode_fields(result->header, fields);
    } else if (code != wire::ResponseCode::kPollingTimeout) {
        status = check_response(*result, key.second);
    }
    if (!status) {
        failed_in_loop(key, status.error());
        return;
    }
    source.failures = 0;
    source.is_asking = false;
    if (code == wire::ResponseCode::kSuccess) {
        TagFilter filter;
        {
            const MutexLock lock(mutex_);
            filter = subscriptions_[key.first].filter;
        }
        take_in_loop(key, *result, fields.poptime(), filter);
    } else if (slot_.loop().pass_time() - source.asked_at < kQuickEmpty) {
        pause_in_loop(key, kEmptyPause);
        return;
    }
    if (has_room()) {
        ask_in_loop(key, source);
    }
}

void PopEngine::take_in_loop(const SourceKey& key,
                             const net::Received& received,
                             WallMs pop_ms,
                             const TagFilter& filter) {
    RecordReader reader(
        received.body,
        std::make_shared<const ReceivedBody>(ReceivedBody{received.pin(), key.second}));
    std::vector<PoppedMessage> wanted;
    std::vector<PoppedMessage> unwanted;
    MessageView message;
    for (Bytes record = reader.rest(); reader.next(message); record = reader.rest()) {
        const Result<wire::Record> parsed = wire::parse_record(record);
        if (options_.check_crc && (!parsed || !wire::body_crc_matches(*parsed))) {
            corrupt_.add();
            kLog.error("popped_message_corrupt",
                       {{"topic", message.topic()},
                        {"queue", message.queue()},
                        {"offset", message.queue_offset()}});
            continue;
        }
        (filter.matches(message) ? wanted : unwanted).emplace_back(std::move(message), pop_ms);
    }
    if (options_.renew) {
        holds_.add(runs_of(wanted), slot_.loop().pass_time());
    }
    settler_->settle(runs_of(unwanted), {});
    const std::size_t bytes = received.body.size();
    {
        const MutexLock lock(mutex_);
        if (!is_closed_) {
            ready_bytes_ += bytes;
            std::move(wanted.begin(), wanted.end(), std::back_inserter(ready_));
            wanted.clear();
            arrived_.notify_all();
        }
    }
    settle(wanted, {milliseconds(0), true});
}

void PopEngine::failed_in_loop(const SourceKey& key, const Error& why) {
    Source& source = sources_[key];
    source.is_asking = false;
    if (why.code == Errc::kClosed) {
        return;
    }
    const bool is_told = why.code == Errc::kIo || why.code == Errc::kRefused ||
                         why.code == Errc::kUnsupported || why.code == Errc::kDenied;
    if (is_told && source.failures == 0) {
        kLog.warn("pop_failed", {{"topic", std::string_view(key.first)}, {"error", why}});
    }
    const milliseconds pause = kFailurePause * (1 << std::min(source.failures, kDoublingsMax));
    ++source.failures;
    if (why.code != Errc::kBusy) {
        runtime_.routes().refresh(key.first);
    }
    pause_in_loop(key, std::min(pause, kFailurePauseMax));
}

void PopEngine::pause_in_loop(const SourceKey& key, milliseconds pause) {
    sources_[key].is_waiting = true;
    slot_.post_after(pause, [weak = weak_from_this(), key] {
        const std::shared_ptr<PopEngine> self = weak.lock();
        if (self == nullptr) {
            return;
        }
        self->sources_[key].is_waiting = false;
        self->find_sources_in_loop();
    });
}

std::vector<PoppedMessage> PopEngine::poll(milliseconds wait, std::size_t count_max) {
    const SteadyTime deadline = std::chrono::steady_clock::now() + wait;
    std::vector<PoppedMessage> taken;
    bool was_stalled = false;
    {
        MutexLock lock(mutex_);
        bool is_in_time = true;
        while (ready_.empty() && !is_closed_ && is_in_time) {
            is_in_time = lock.wait_until(arrived_, deadline);
        }
        const std::size_t count = is_closed_ ? 0 : std::min(count_max, ready_.size());
        const auto end = ready_.begin() + static_cast<std::ptrdiff_t>(count);
        taken.assign(std::make_move_iterator(ready_.begin()), std::make_move_iterator(end));
        ready_.erase(ready_.begin(), end);
        ready_bytes_ = ready_.empty() ? 0 : ready_bytes_;
        if (count > 0 && is_stalled_ && ready_.size() < options_.buffer_messages_max) {
            was_stalled = true;
            is_stalled_ = false;
        }
    }
    if (was_stalled) {
        resume();
    }
    received_.add(taken.size());
    return taken;
}

void PopEngine::resume() {
    slot_.post([self = shared_from_this()] { self->ask_all_in_loop(); });
}

void PopEngine::settle(std::span<const PoppedMessage> messages, const PopSettler::Fate& fate) {
    std::vector<PopRun> runs = runs_of(messages);
    holds_.remove(runs);
    settler_->settle(std::move(runs), fate);
}

void PopEngine::ack(std::span<const PoppedMessage> messages) {
    settle(messages, {});
}

void PopEngine::give_back(std::span<const PoppedMessage> messages, milliseconds delay) {
    settle(messages, {delay});
}

void PopEngine::renew(std::span<const PoppedMessage> messages, milliseconds invisible) {
    settler_->settle(runs_of(messages), {invisible});
}

void PopEngine::renew_in_loop() {
    settler_->settle(holds_.take_due(std::chrono::steady_clock::now()), {options_.invisible});
}

Status PopEngine::flush(milliseconds limit) {
    if (settler_->wait_settled(std::chrono::steady_clock::now() + limit)) {
        return ok();
    }
    return Error{
        Errc::kTimeout,
        "brokers do not know all acknowledgements after " + std::to_string(limit.count()) + " ms"};
}

Status PopEngine::listen(PopConsumer::Listener listener) {
    const MutexLock lock(mutex_);
    if (!threads_.empty() || is_closed_) {
        return Error{Errc::kConflict, "the consumer has started already, or is closed"};
    }
    listener_ = std::move(listener);
    listening_ = options_.threads;
    for (std::uint32_t i = 0; i < options_.threads; ++i) {
        threads_.emplace_back([this, i] {
            set_thread_name(("gantry-pop-" + std::to_string(i)).substr(0, 15).c_str());
            work();
        });
    }
    return ok();
}

void PopEngine::work() {
    const auto is_closed = [this] {
        const MutexLock lock(mutex_);
        return is_closed_;
    };
    while (!is_closed()) {
        const std::vector<PoppedMessage> batch = poll(kPollStep, options_.batch_messages_max);
        if (batch.empty()) {
            continue;
        }
        if (call_listener(listener_, batch) == ConsumeResult::kSuccess) {
            ack(batch);
        } else {
            give_back(batch, options_.retry_delay);
        }
    }
    const MutexLock lock(mutex_);
    --listening_;
    changed_.notify_all();
}

Status PopEngine::close(milliseconds limit) {
    const SteadyTime deadline = std::chrono::steady_clock::now() + limit;
    std::vector<PoppedMessage> unread;
    bool has_ended = false;
    {
        MutexLock lock(mutex_);
        is_closed_ = true;
        unread.assign(std::make_move_iterator(ready_.begin()),
                      std::make_move_iterator(ready_.end()));
        ready_.clear();
        arrived_.notify_all();
        bool is_in_time = true;
        while (listening_ > 0 && is_in_time) {
            is_in_time = lock.wait_until(changed_, deadline);
        }
        has_ended = listening_ == 0;
    }
    settle(unread, {milliseconds(0), true});
    const bool is_settled = settler_->wait_settled(deadline);
    runtime_.routes().unsubscribe(routes_);
    if (!has_ended || !is_settled) {
        return Error{Errc::kTimeout,
                     std::string(has_ended ? "brokers do not know all acknowledgements"
                                           : "a listener still runs") +
                         " after " + std::to_string(limit.count()) + " ms"};
    }
    return ok();
}

void PopEngine::join() {
    std::vector<std::thread> threads;
    {
        const MutexLock lock(mutex_);
        threads.swap(threads_);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    slot_.run_and_wait([this] { renew_timer_.reset(); });
}

}  // namespace gantry::client
