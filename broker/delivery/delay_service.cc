// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/delay_service.h"

#include "broker/context.h"
#include "broker/loop_state.h"
#include "broker/topic_creator.h"
#include "common/log.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"
#include "storage/log/run_bytes.h"

#include <algorithm>
#include <charconv>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr std::array<std::int64_t, DelayService::kLevels> kLevelSeconds = {
    1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1'200, 1'800, 3'600, 7'200};
constexpr std::int32_t kMessagesPerPass = 256;
constexpr WallMs kLookAgainMs = 100;
constexpr WallMs kRetryMs = 1'000;
constexpr std::uint32_t kReadBytes = 1U << 20U;

/// The bytes of a read's runs: copied from memory, or read from the file where it is not mapped.
std::string bytes_of(const storage::ReadResult& result) {
    std::string bytes;
    bytes.reserve(result.bytes);
    for (const storage::LogRun& run : result.runs) {
        if (!run.memory.empty()) {
            bytes += as_text(run.memory);
            continue;
        }
        const std::size_t start = bytes.size();
        bytes.resize(start + run.length);
        const MutableBytes into(reinterpret_cast<std::byte*>(bytes.data()) + start, run.length);
        if (!storage::read_run(run, into)) {
            bytes.resize(start);
            break;
        }
    }
    return bytes;
}

std::int32_t to_int(std::string_view text, std::int32_t fallback) noexcept {
    std::int32_t value = fallback;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

DelayService::DelayService(Context& context, LoopState& loop)
    : context_(context), loop_(loop), timer_(loop.loop(), [this] { run(); }) {}

Status DelayService::open(TopicCreator& creator) {
    constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;
    GANTRY_ASSIGN_OR_RETURN(storage::Topic* const topic,
                            creator.ensure(loop_, kTopic, kLevels, kReadWrite));
    for (std::int32_t i = 0; i < kLevels; ++i) {
        Level& level = levels_[static_cast<std::size_t>(i)];
        level.queue = topic->queue(i);
        if (level.queue == nullptr) {
            return Error{
                Errc::kCorrupt,
                std::string(kTopic) + " has fewer than " + std::to_string(kLevels) + " queues"};
        }
        level.next = QueueOffset(context_.store->state().offset(kGroup, kTopic, i).value_or(0));
        level.next = std::max(level.next, level.queue->min());
        level.look_at = level.next < level.queue->max() ? 0 : kIdle;
    }
    return ok();
}

void DelayService::start() {
    is_started_ = true;
    arm();
}

void DelayService::stop() {
    is_started_ = false;
    timer_.cancel();
}

std::int32_t DelayService::level_of(std::string_view properties) noexcept {
    const std::int32_t level = to_int(wire::find_property(properties, wire::property::kDelay), 0);
    return std::clamp(level, 0, kLevels);
}

std::int64_t DelayService::level_ms(std::int32_t level) noexcept {
    return kLevelSeconds[static_cast<std::size_t>(level - 1)] * 1'000;
}

void DelayService::arm() {
    if (!is_started_) {
        return;
    }
    WallMs first = kIdle;
    for (const Level& level : levels_) {
        if (!level.is_loading) {
            first = std::min(first, level.look_at);
        }
    }
    if (first == kIdle) {
        timer_.cancel();
        return;
    }
    // The wall clock may step: never sleep past a minute of it.
    const WallMs wait = std::clamp<WallMs>(first - context_.clock.wall_ms(), 0, 60'000);
    timer_.start_once(std::chrono::milliseconds(wait));
}

void DelayService::run() {
    const WallMs now = context_.clock.wall_ms();
    for (std::int32_t i = 0; i < kLevels; ++i) {
        Level& level = levels_[static_cast<std::size_t>(i)];
        if (!level.is_loading && level.look_at <= now) {
            budget_ = kMessagesPerPass;
            deliver(level, i + 1);
        }
    }
    arm();
}

void DelayService::deliver(Level& level, std::int32_t number) {
    while (budget_ > 0) {
        storage::ReadRequest request;
        request.from = level.next;
        request.bytes_max = kReadBytes;
        request.count_max = static_cast<std::uint32_t>(budget_);
        storage::ReadResult result = context_.store->read(*level.queue, request);
        if (result.status == storage::ReadStatus::kAtEnd) {
            const bool is_unconfirmed = level.queue->max() > level.next;
            level.look_at = is_unconfirmed ? context_.clock.wall_ms() + kLookAgainMs : kIdle;
            return;
        }
        if (result.status != storage::ReadStatus::kFound) {
            kLog.warn("delayed_messages_skipped",
                      {{"level", number}, {"from", level.next.value}, {"to", result.next.value}});
            level.next = result.next;
            continue;
        }
        const bool is_mapped = std::all_of(result.runs.begin(),
                                           result.runs.end(),
                                           [](const auto& run) { return !run.memory.empty(); });
        if (result.is_cold || !is_mapped) {
            load(number, std::move(result));
            return;
        }
        for (const storage::LogRun& run : result.runs) {
            if (!deliver_all(level, number, run.memory)) {
                return;
            }
        }
    }
}

void DelayService::load(std::int32_t number, storage::ReadResult result) {
    Level& level = levels_[static_cast<std::size_t>(number - 1)];
    level.is_loading = true;
    const Status submitted =
        context_.pool.submit([this, number, result = std::move(result)]() mutable {
            context_.store->warm_up(result);
            loop_.post([this, number, bytes = bytes_of(result)] {
                Level& loaded = levels_[static_cast<std::size_t>(number - 1)];
                loaded.is_loading = false;
                budget_ = kMessagesPerPass;
                if (deliver_all(loaded, number, as_bytes(bytes))) {
                    loaded.look_at = 0;
                }
                arm();
            });
        });
    if (!submitted) {
        level.is_loading = false;
        level.look_at = context_.clock.wall_ms() + kRetryMs;
    }
}

bool DelayService::deliver_all(Level& level, std::int32_t number, Bytes records) {
    bool goes_on = true;
    const Status walked =
        wire::for_each_record(records, [&](const std::byte*, const wire::Record& record) -> Status {
            if (goes_on) {
                goes_on = deliver_one(level, number, record);
            }
            return ok();
        });
    if (!walked) {
        kLog.error("delayed_message_damaged",
                   {{"level", number}, {"offset", level.next.value}, {"error", walked.error()}});
        level.next += 1;
    }
    return goes_on;
}

bool DelayService::deliver_one(Level& level, std::int32_t number, const wire::Record& record) {
    const WallMs due = record.store_ms + level_ms(number);
    if (due > context_.clock.wall_ms()) {
        level.look_at = due;
        return false;
    }
    if (budget_ <= 0) {
        level.look_at = 0;
        return false;
    }
    --budget_;
    if (const Status restored = restore(record); !restored) {
        kLog.warn("delayed_delivery_failed",
                  {{"level", number},
                   {"offset", record.queue_offset.value},
                   {"error", restored.error()}});
        level.look_at = context_.clock.wall_ms() + kRetryMs;
        return false;
    }
    level.next = record.queue_offset + 1;
    level.look_at = 0;
    loop_.offsets().put({kGroup, kTopic, number - 1, level.next.value});
    return true;
}

Status DelayService::restore(const wire::Record& record) {
    const std::string_view name =
        wire::find_property(record.properties, wire::property::kRealTopic);
    storage::Topic* const topic = context_.store->find_topic(name);
    std::int32_t queue_id =
        to_int(wire::find_property(record.properties, wire::property::kRealQueueId), 0);
    if (topic != nullptr && topic->write_queues() > 0 && topic->queue(queue_id) == nullptr) {
        queue_id = queue_id % topic->write_queues();
    }
    storage::Queue* const queue = topic == nullptr ? nullptr : topic->queue(queue_id);
    if (queue == nullptr) {
        context_.counters.delayed.dropped.add();
        kLog.warn("delayed_message_dropped",
                  {{"topic", name}, {"queue", queue_id}, {"reason", "no such topic or queue"}});
        return ok();
    }
    std::string properties = wire::without_property(record.properties, wire::property::kDelay);
    properties = wire::without_property(properties, wire::property::kRealTopic);
    properties = wire::without_property(properties, wire::property::kRealQueueId);
    wire::Record restored = record;
    restored.topic = queue->topic;
    restored.queue_id = queue->queue_id;
    restored.properties = properties;
    const Result<storage::Appended> appended =
        context_.store->append_messages(*queue, std::span<const wire::Record>(&restored, 1));
    if (!appended && appended.error().code == Errc::kRefused) {
        context_.counters.delayed.dropped.add();
        kLog.error("delayed_message_dropped",
                   {{"topic", name}, {"queue", queue_id}, {"error", appended.error()}});
        return ok();
    }
    if (!appended) {
        return appended.error();
    }
    loop_.appended(*queue, appended->end);
    context_.counters.delayed.out.add();
    return ok();
}

}  // namespace gantry::broker
