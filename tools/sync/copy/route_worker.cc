// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/route_worker.h"

#include "common/log.h"
#include "sync/cluster.h"
#include "sync/copy/marks.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

namespace gantry::sync {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("sync");
constexpr milliseconds kIdlePoll{50};
constexpr milliseconds kBusyPoll{2};  // answers are waited for
constexpr milliseconds kCommitEvery{1'000};
constexpr milliseconds kPublishEvery{200};
constexpr std::size_t kAskers = 2;
constexpr std::int64_t kConnectionBytesMax = std::int64_t{40} << 20U;  // it takes 64 MiB

CopyRule rule_of(const RouteConfig& route, const std::string& target_topic, bool is_numbered) {
    constexpr std::int64_t kFramesPerSecond = 20;  // at least, where a rate is limited
    constexpr std::int64_t kFrameBytesMin = 1'024;
    CopyRule rule;
    rule.route = route.name;
    rule.from = route.from;
    rule.to = route.to;
    rule.target_topic = target_topic;
    rule.mapping = route.queues;
    rule.on_loss = route.on_loss;
    rule.local_only = route.local_only;
    rule.is_numbered = is_numbered;
    rule.frame_bytes = route.frame_bytes;
    rule.window_bytes = route.window_bytes;
    if (route.bytes_per_second > 0) {
        rule.frame_bytes = std::min(
            rule.frame_bytes, std::max(kFrameBytesMin, route.bytes_per_second / kFramesPerSecond));
    }
    if (route.messages_per_second > 0) {
        const std::int64_t most =
            std::max<std::int64_t>(1, route.messages_per_second / kFramesPerSecond);
        rule.frame_messages = std::min(rule.frame_messages, static_cast<std::size_t>(most));
    }
    return rule;
}

}  // namespace

RouteWorker::RouteWorker(const RouteConfig& route, std::shared_ptr<RouteLimits> limits)
    : route_(route), limits_(std::move(limits)) {}

RouteWorker::~RouteWorker() {
    stop();
}

Result<std::unique_ptr<RouteWorker>> RouteWorker::start(const RouteConfig& route,
                                                        const Ends& ends,
                                                        std::shared_ptr<RouteLimits> limits) {
    auto worker = std::unique_ptr<RouteWorker>(new RouteWorker(route, std::move(limits)));
    GANTRY_ASSIGN_OR_RETURN(worker->source_, connect(ends.source));
    GANTRY_ASSIGN_OR_RETURN(worker->target_, connect(ends.target));
    client::PullConsumer::Options options;
    options.group = Progress::group_of(route);
    options.start_from = route.start;
    options.pull_bytes_max = static_cast<std::uint32_t>(route.pull_bytes);
    options.pull_messages_max = 65'536;
    options.buffer_bytes_max =
        static_cast<std::uint64_t>(4 * route.pull_bytes + route.window_bytes);
    options.on_lost = [raw = worker.get()](const client::LostMessages& lost) {
        const auto found = raw->copiers_.find(lost.queue);
        if (found != raw->copiers_.end()) {
            found->second->lost(lost);
        }
    };
    GANTRY_ASSIGN_OR_RETURN(worker->consumer_,
                            client::PullConsumer::create(worker->source_, options));
    GANTRY_ASSIGN_OR_RETURN(worker->progress_,
                            Progress::create(route, worker->source_, worker->target_));
    worker->pool_ = std::make_unique<TaskPool>(kAskers);
    worker->commits_ = std::make_unique<TaskPool>(1);
    worker->thread_ = std::thread([raw = worker.get()] { raw->run(); });
    return worker;
}

void RouteWorker::stop() {
    if (is_stopping_.exchange(true) || !thread_.joinable()) {
        return;
    }
    thread_.join();
    commits_->stop();
    pool_->stop();
    consumer_->close();
}

void RouteWorker::set_topics(const std::map<std::string, std::string>& topics) {
    const MutexLock lock(mutex_);
    wanted_ = topics;
}

void RouteWorker::source_went_back(const client::QueueId& queue, std::int64_t end) {
    const MutexLock lock(mutex_);
    went_back_[queue] = end;
}

std::vector<QueueReport> RouteWorker::report() const {
    const MutexLock lock(mutex_);
    return report_;
}

void RouteWorker::run() {
    set_thread_name("sync-copy");
    while (!is_stopping_.load()) {
        take_topics();
        take_assignment();
        take_events();
        ask_where_due();
        const bool has_read = read();
        send();
        keep_pace();
        const SteadyTime now = std::chrono::steady_clock::now();
        if (now >= commit_due_) {
            commit_due_ = now + kCommitEvery;
            commit(false);
        }
        if (now >= publish_due_) {
            publish_due_ = now + (has_read ? kPublishEvery : kPublishEvery / 2);
            publish();
        }
    }
    commit(true);
}

void RouteWorker::take_topics() {
    std::map<std::string, std::string> wanted;
    std::map<client::QueueId, std::int64_t> went_back;
    {
        const MutexLock lock(mutex_);
        wanted = wanted_;
        went_back.swap(went_back_);
    }
    for (const auto& [queue, end] : went_back) {
        const auto found = copiers_.find(queue);
        if (found != copiers_.end() && found->second->state() != QueueCopier::State::kStands) {
            found->second->stand("the source ends at " + std::to_string(end) +
                                 ", below what was copied: the topic was made anew, or has lost "
                                 "messages");
        }
    }
    for (const auto& [topic, target] : wanted) {
        if (topics_.count(topic) != 0) {
            continue;
        }
        if (const Status joined = consumer_->subscribe(topic, route_.filter); !joined) {
            kLog.warn("subscribe_failed",
                      {{"route", route_.name}, {"topic", topic}, {"error", joined.error()}});
            const MutexLock lock(mutex_);
            wanted_.erase(topic);  // the route offers it again
            continue;
        }
        topics_[topic] = target;
    }
}

void RouteWorker::take_assignment() {
    std::set<client::QueueId> mine;
    for (client::QueueId& queue : consumer_->assignment()) {
        const auto topic = topics_.find(queue.topic);
        if (topic == topics_.end()) {
            continue;  // a retry topic of the group
        }
        if (copiers_.count(queue) == 0) {
            copiers_[queue] = std::make_unique<QueueCopier>(
                queue,
                rule_of(route_, topic->second, progress_->producer().has_numbers()),
                stream_of(route_.name, route_.from, queue));
        }
        mine.insert(std::move(queue));
    }
    std::erase_if(copiers_, [&mine](const auto& entry) { return mine.count(entry.first) == 0; });
}

void RouteWorker::take_events() {
    std::vector<Event> events;
    {
        const MutexLock lock(mailbox_->mutex);
        events.swap(mailbox_->events);
    }
    for (const Event& event : events) {
        if (event.is_send) {
            judge(event.target.broker, event.sent ? ok() : Status(event.sent.error()));
            measure(event);
        } else {
            judge_all(event);
        }
        const auto found = copiers_.find(event.source);
        if (found == copiers_.end() || found->second->generation() != event.generation) {
            continue;
        }
        if (event.is_send) {
            answered(*found->second, event);
        } else {
            asked(*found->second, event);
        }
    }
}

void RouteWorker::answered(QueueCopier& copier, const Event& event) {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (event.sent) {
        copier.stored(static_cast<std::int32_t>(copier.index_of(event.target)), event.first);
        return;
    }
    kLog.info("frame_failed",
              {{"route", route_.name},
               {"topic", event.source.topic},
               {"queue", event.source.queue},
               {"first", event.first},
               {"error", event.sent.error()}});
    if (event.sent.error().code == Errc::kRefused) {
        copier.refused(event.first, event.sent.error(), now, random_);
    } else {
        copier.failed(event.sent.error(), now, random_);
    }
}

void RouteWorker::asked(QueueCopier& copier, const Event& event) {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!event.recovery) {
        kLog.info("position_unknown",
                  {{"route", route_.name},
                   {"topic", event.source.topic},
                   {"queue", event.source.queue},
                   {"error", event.recovery.error()}});
        copier.failed(event.recovery.error(), now, random_);
        return;
    }
    const std::int64_t from = copier.recovered(*event.recovery);
    if (const Status moved = consumer_->seek(copier.source(), from); !moved) {
        copier.failed(moved.error(), now, random_);
    }
}

/// What came of a question, also of one whose answer nobody wants any more.
void RouteWorker::judge_all(const Event& event) {
    for (const client::QueueId& target : event.recovery ? event.recovery->targets : event.asked) {
        judge(target.broker, event.recovery ? ok() : Status(event.recovery.error()));
    }
}

/// Whether a broker answers decides whether others ask it.
void RouteWorker::judge(const std::string& broker, const Status& outcome) {
    const bool is_away = !outcome && (outcome.error().code == Errc::kGone ||
                                      outcome.error().code == Errc::kTimeout ||
                                      outcome.error().code == Errc::kUnknown);
    if (is_away) {
        circuits_[broker].failed(std::chrono::steady_clock::now(), random_);
    } else {
        circuits_[broker].succeeded();
    }
}

/// What an answer says of the line it came over.
void RouteWorker::measure(const Event& event) {
    FlightWindow& window = window_to(event.target.broker);
    if (event.sent) {
        window.answered(event.ended_at, event.ended_at - event.begun_at, event.bytes);
    } else if (event.sent.error().code == Errc::kUnknown ||
               event.sent.error().code == Errc::kTimeout) {
        window.failed();
    }
}

FlightWindow& RouteWorker::window_to(const std::string& broker) {
    const std::chrono::milliseconds timeout(route_.timeout_ms);
    return windows_.try_emplace(broker, kConnectionBytesMax, timeout).first->second;
}

bool RouteWorker::may_ask(const QueueCopier& copier, SteadyTime now) {
    const std::vector<client::QueueId>& targets = copier.targets();
    return std::all_of(targets.begin(), targets.end(), [&](const client::QueueId& target) {
        return circuits_[target.broker].allows(now);
    });
}

void RouteWorker::ask_where_due() {
    const SteadyTime now = std::chrono::steady_clock::now();
    for (const auto& [queue, copier] : copiers_) {
        if (copier->is_due(now) && may_ask(*copier, now)) {
            ask(*copier);
        }
    }
}

void RouteWorker::ask(QueueCopier& copier) {
    Event event;
    event.source = copier.source();
    event.generation = copier.begin_recovery();
    event.asked = copier.targets();
    for (const client::QueueId& target : event.asked) {
        circuits_[target.broker].asked(std::chrono::steady_clock::now());
    }
    Question question;
    question.source = copier.source();
    question.target_topic = topics_.at(copier.source().topic);
    question.stream = stream_of(route_.name, route_.from, copier.source());
    question.targets = copier.targets();
    question.floor = copier.done();
    question.covered = copier.covered();
    pool_->add([this, event = std::move(event), question = std::move(question)]() mutable {
        event.recovery = progress_->find(question);
        const MutexLock lock(mailbox_->mutex);
        mailbox_->events.push_back(std::move(event));
    });
}

/// Takes what has arrived to its queues; false: nothing has.
bool RouteWorker::read() {
    const bool is_waiting = std::any_of(copiers_.begin(), copiers_.end(), [](const auto& entry) {
        return entry.second->state() == QueueCopier::State::kRecovering ||
               entry.second->done() < entry.second->position();
    });
    const std::vector<client::MessageView> messages =
        consumer_->poll(is_waiting ? kBusyPoll : kIdlePoll);
    client::QueueId last;
    QueueCopier* copier = nullptr;
    for (const client::MessageView& message : messages) {
        if (copier == nullptr || message.queue() != last.queue || message.broker() != last.broker ||
            message.topic() != last.topic) {
            last = {std::string(message.topic()), message.broker(), message.queue()};
            const auto found = copiers_.find(last);
            copier = found == copiers_.end() ? nullptr : found->second.get();
        }
        if (copier != nullptr) {
            copier->offer(message);
        }
    }
    for (const auto& [queue, each] : copiers_) {
        if (each->position() >= 0) {
            each->passed(consumer_->position(queue));
        }
    }
    return !messages.empty();
}

/// A frame of each queue in turn, as long as limits and connections have room.
void RouteWorker::send() {
    std::map<std::string, std::int64_t> flying;
    for (const auto& [queue, copier] : copiers_) {
        copier->add_flying(flying);
    }
    const auto has_room = [&](const std::string& broker) {
        return window_to(broker).has_room(flying[broker]);
    };
    std::size_t idle = 0;  // queues that follow each other with nothing to send
    while (idle < copiers_.size()) {
        auto next = copiers_.upper_bound(last_sent_);
        next = next == copiers_.end() ? copiers_.begin() : next;
        last_sent_ = next->first;
        QueueCopier& copier = *next->second;
        if (!copier.has_frame() || !has_room(copier.next_target().broker)) {
            ++idle;
            continue;
        }
        const SteadyTime now = std::chrono::steady_clock::now();
        if (!limits_->bytes.has_any(now) || !limits_->messages.has_any(now)) {
            return;
        }
        const std::string broker = copier.next_target().broker;
        flying[broker] += send_one(copier);
        idle = 0;
    }
}

/// Returns its bytes.
std::int64_t RouteWorker::send_one(QueueCopier& copier) {
    const std::int64_t most = window_to(copier.next_target().broker).frame_bytes();
    const client::CopiedFrame frame = copier.next_frame(most);
    Event event;
    event.is_send = true;
    event.source = copier.source();
    event.generation = copier.generation();
    event.target = frame.queue;
    event.first = frame.first;
    for (const client::CopiedMessage& copied : frame.messages) {
        event.bytes += static_cast<std::int64_t>(copied.message.body.size());
    }
    event.begun_at = std::chrono::steady_clock::now();
    limits_->bytes.take(event.bytes);
    limits_->messages.take(static_cast<std::int64_t>(frame.messages.size()));
    const Status sent = progress_->producer().send_async(
        frame, [mailbox = mailbox_, event](Result<client::SendReceipt> result) mutable {
            event.sent = std::move(result);
            event.ended_at = std::chrono::steady_clock::now();
            const MutexLock lock(mailbox->mutex);
            mailbox->events.push_back(std::move(event));
        });
    if (!sent) {
        event.sent = sent.error();
        answered(copier, event);
    }
    return event.bytes;
}

/// Queues whose window is full are not read further.
void RouteWorker::keep_pace() {
    for (const auto& [queue, copier] : copiers_) {
        if (copier->wants_more() || copier->state() == QueueCopier::State::kRecovering) {
            consumer_->resume(queue);
        } else {
            consumer_->pause(queue);
        }
    }
}

/// Writes down how far the queues are, in a thread of its own: one that is away holds nobody up.
void RouteWorker::commit(bool is_last) {
    if (is_committing_.exchange(true)) {
        if (!is_last) {
            return;
        }
    }

    struct Item {
        client::QueueId queue;
        std::int64_t done = 0;
        std::int64_t covered = 0;
    };

    constexpr std::uint32_t kAllAgainEvery = 30;  // those whose commit failed, too
    if (++commit_rounds_ % kAllAgainEvery == 0) {
        committed_.clear();
    }
    std::vector<Item> items;
    for (const auto& [queue, copier] : copiers_) {
        const bool is_known = copier->state() == QueueCopier::State::kRunning;
        const std::int64_t done = copier->done();
        const auto before = committed_.find(queue);
        if (is_known && (before == committed_.end() || before->second != done)) {
            items.push_back({queue, done, copier->covered()});
            committed_[queue] = done;
        }
    }
    const auto write = [this, items = std::move(items)] {
        std::set<std::string> away;  // asked once: others may be waiting for the end
        for (const Item& item : items) {
            if (away.count(item.queue.broker) != 0) {
                continue;
            }
            const Status done = progress_->commit(item.queue, item.done, item.covered);
            if (!done) {
                away.insert(item.queue.broker);
                kLog.warn("commit_failed",
                          {{"route", route_.name},
                           {"topic", item.queue.topic},
                           {"queue", item.queue.queue},
                           {"error", done.error()}});
            }
        }
        is_committing_.store(false);
    };
    if (is_last) {
        commits_->stop();  // after what runs
        write();
    } else {
        commits_->add(write);
    }
}

void RouteWorker::publish() {
    std::vector<QueueReport> report;
    for (const auto& [queue, copier] : copiers_) {
        QueueReport& one = report.emplace_back();
        one.source = queue;
        one.targets = copier->targets();
        one.state = copier->state();
        one.reason = copier->reason();
        one.done = copier->done();
        one.flying = copier->flying();
        one.oldest_ms = copier->oldest_ms();
        one.counts = copier->counts();
    }
    const MutexLock lock(mutex_);
    report_ = std::move(report);
}

}  // namespace gantry::sync
