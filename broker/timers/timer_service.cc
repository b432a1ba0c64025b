// SPDX-License-Identifier: Apache-2.0
#include "broker/timers/timer_service.h"

#include "broker/context.h"
#include "broker/loop_state.h"
#include "broker/topic_creator.h"
#include "common/log.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace gantry::broker {

namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("broker");
constexpr std::size_t kMessagesAtOnce = 1'024;
constexpr std::size_t kFoldedAtOnce = 16'384;
constexpr std::size_t kSpreadAtOnce = 65'536;
constexpr milliseconds kCommitEvery{1'000};
constexpr milliseconds kRollEvery{1'000};
constexpr WallMs kRestMaxMs = 1'000;
constexpr WallMs kUnconfirmedMs = 2;

}  // namespace

Status TimerService::open(TopicCreator& creator) {
    constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;
    GANTRY_ASSIGN_OR_RETURN(storage::Topic* const topic,
                            creator.ensure(loop_, storage::kTimerTopic, 1, kReadWrite));
    queue_ = topic->queue(0);
    if (queue_ == nullptr) {
        return Error{Errc::kCorrupt, std::string(storage::kTimerTopic) + " has no queue"};
    }
    return context_.store->timers().open(*queue_, context_.clock.wall_ms());
}

void TimerService::start() {
    thread_ = std::thread([this] {
        set_thread_name("timers");
        run();
    });
}

void TimerService::stop() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        woken_.notify_one();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
}

Result<storage::Appended> TimerService::store(LoopState& loop, const WaitingMessage& waiting) {
    wire::Record record = waiting.record;
    record.properties = waiting.properties;
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended,
                            context_.store->append_messages(*queue_, {&record, 1}));
    stored(loop, appended);
    return appended;
}

Result<storage::Appended> TimerService::store_frame(LoopState& loop,
                                                    const storage::Queue& real,
                                                    std::span<const wire::Record> waiting) {
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended,
                            context_.store->timers().append(*queue_, real, waiting));
    if (!appended.is_repeat) {
        stored(loop, appended);
    }
    return appended;
}

void TimerService::stored(LoopState& loop, const storage::Appended& appended) {
    loop.want_flush();
    context_.counters.delayed.in.add(appended.count);
    if (is_resting_.exchange(false, std::memory_order_acq_rel)) {
        const MutexLock lock(mutex_);
        has_news_ = true;
        woken_.notify_one();
    }
}

void TimerService::run() {
    for (;;) {
        {
            const MutexLock lock(mutex_);
            if (is_stopping_) {
                break;
            }
        }
        bool has_more = false;
        const Status done = step(has_more);
        if (!done) {
            kLog.warn("delayed_messages_wait", {{"error", done.error()}});
        }
        if (!done && done.error().code == Errc::kCorrupt) {
            const Status made = context_.store->timers().open(*queue_, context_.clock.wall_ms());
            kLog.error("timer_index_made_anew", {{"done", made.has_value()}});
        }
        if (!done || !has_more) {
            rest(!done);
        }
    }
    if (context_.store->timers().has_unlogged()) {
        static_cast<void>(context_.store->timers().commit());  // costs the next start time only
    }
}

Status TimerService::step(bool& has_more) {
    storage::Timers& timers = context_.store->timers();
    const WallMs now = context_.clock.wall_ms();
    GANTRY_ASSIGN_OR_RETURN(const bool folds, timers.fold(kFoldedAtOnce));
    GANTRY_ASSIGN_OR_RETURN(const bool spreads, timers.prepare(now, kSpreadAtOnce));
    GANTRY_ASSIGN_OR_RETURN(const auto due, timers.due(now, kMessagesAtOnce));
    has_more = folds || spreads || !due.empty();
    if (!due.empty()) {
        GANTRY_TRY(deliver(due));
        timers.finish();
        late_ms_.store(context_.clock.wall_ms() - due.back().tick(), std::memory_order_relaxed);
    }
    return keep_up(has_more);
}

/// What is to be done now and then.
Status TimerService::keep_up(bool& has_more) {
    storage::Timers& timers = context_.store->timers();
    const SteadyTime now = context_.clock.steady();
    if (timers.has_unlogged() && now >= commit_at_) {
        commit_at_ = now + kCommitEvery;
        GANTRY_TRY(timers.commit());
    }
    if (now >= roll_at_ && !has_more) {
        roll_at_ = now + kRollEvery;
        const WallMs age = context_.options.delay_roll_seconds * 1'000;
        GANTRY_ASSIGN_OR_RETURN(has_more, timers.roll(context_.clock.wall_ms() - age));
        if (has_more) {
            roll_at_ = now;
        }
    }
    if (timers.is_stale()) {
        GANTRY_TRY(timers.open(*queue_, context_.clock.wall_ms()));
        has_more = true;
    }
    return ok();
}

Status TimerService::deliver(std::span<const storage::TimerEntry> due) {
    batches_.clear();
    memory_.release();
    topic_ = nullptr;
    storage::Timers& timers = context_.store->timers();
    timers.read(due, [this](const storage::TimerEntry& timer, const Result<wire::Record>& record) {
        add(timer, record);
    });
    std::uint64_t refused = 0;
    const Result<std::size_t> delivered = timers.deliver(batches_, refused);
    context_.counters.delayed.dropped.add(refused);
    if (!delivered) {
        return delivered.error();
    }
    context_.counters.delayed.out.add(*delivered);
    if (*delivered > 0) {
        wake_readers(context_.store->watermarks().appended);
    }
    return ok();
}

void TimerService::add(const storage::TimerEntry& timer, const Result<wire::Record>& record) {
    if (!record) {
        drop(timer, record.error().detail);
        return;
    }
    properties_.clear();
    const RealPlace place = real_place(record->properties, properties_);
    storage::Queue* const queue = queue_of(place);
    if (queue == nullptr) {
        drop(
            timer,
            "no queue " + std::to_string(place.queue_id) + " of topic " + std::string(place.topic));
        return;
    }
    storage::TimerBatch& batch = batch_of(*queue);
    wire::Record& message = batch.records.emplace_back(*record);
    message.body = as_bytes(keep(as_text(record->body)));
    message.properties = keep(properties_);
    message.topic = queue->topic;
    message.queue_id = queue->queue_id;
    batch.timers.push_back(timer);
}

storage::Queue* TimerService::queue_of(const RealPlace& place) {
    if (topic_ == nullptr || topic_->name() != place.topic) {
        topic_ = context_.store->find_topic(place.topic);
    }
    if (topic_ == nullptr || place.queue_id < 0) {
        return nullptr;
    }
    storage::Queue* const queue = topic_->queue(place.queue_id);
    return queue != nullptr || topic_->write_queues() <= 0
               ? queue
               : topic_->queue(place.queue_id % topic_->write_queues());
}

storage::TimerBatch& TimerService::batch_of(storage::Queue& queue) {
    const auto found = std::find_if(batches_.rbegin(), batches_.rend(), [&](const auto& batch) {
        return batch.queue == &queue;
    });
    if (found != batches_.rend()) {
        return *found;
    }
    batches_.push_back({&queue, {}, {}});
    return batches_.back();
}

std::string_view TimerService::keep(std::string_view bytes) {
    if (bytes.empty()) {
        return {};
    }
    auto* const place = static_cast<char*>(memory_.allocate(bytes.size(), 1));
    std::memcpy(place, bytes.data(), bytes.size());
    return {place, bytes.size()};
}

void TimerService::drop(const storage::TimerEntry& timer, std::string_view why) {
    context_.counters.delayed.dropped.add();
    kLog.warn("delayed_message_dropped",
              {{"at", timer.at.value}, {"due", timer.due}, {"reason", why}});
}

void TimerService::wake_readers(LogOffset end) {
    std::vector<const storage::Queue*> queues;
    queues.reserve(batches_.size());
    for (const storage::TimerBatch& batch : batches_) {
        queues.push_back(batch.queue);
    }
    loop_.post([&loop = loop_, queues = std::move(queues), end] {
        for (const storage::Queue* const queue : queues) {
            loop.appended(*queue, end);
        }
    });
}

/// Until something is due, or new messages wait.
void TimerService::rest(bool has_failed) {
    const storage::Timers& timers = context_.store->timers();
    WallMs ms = kRestMaxMs;
    if (!has_failed) {
        is_resting_.store(true, std::memory_order_seq_cst);
        const WallMs next = timers.next_event();
        const WallMs now = context_.clock.wall_ms();
        ms = next == storage::TimerSlots::kNever ? kRestMaxMs
                                                 : std::clamp<WallMs>(next - now, 1, kRestMaxMs);
        if (timers.has_unfolded()) {
            ms = std::min(ms, kUnconfirmedMs);
        }
    }
    const auto until = std::chrono::steady_clock::now() + milliseconds(ms);
    MutexLock lock(mutex_);
    while (!is_stopping_ && !has_news_ && lock.wait_until(woken_, until)) {
    }
    has_news_ = false;
    is_resting_.store(false, std::memory_order_relaxed);
}

}  // namespace gantry::broker
