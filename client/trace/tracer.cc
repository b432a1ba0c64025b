// SPDX-License-Identifier: Apache-2.0
#include "client/trace/tracer.h"

#include "client/core/loop_slot.h"
#include "client/core/runtime.h"
#include "client/produce/sender.h"
#include "client/producer.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <set>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kIdDigits = 32;
constexpr std::size_t kBodyBytesMax = 100'000;  // of stock clients' 128,000
constexpr std::size_t kKeyBytesMax = 16'000;
constexpr std::int32_t kFailed = 4;
constexpr milliseconds kCloseLimit{1'000};

Producer::Options options_of(const std::string& group, const std::string& role) {
    Producer::Options options;
    options.group = "_INNER_TRACE_PRODUCER-" + group + '-' + role + "-0";
    options.group.resize(std::min<std::size_t>(options.group.size(), 120));
    options.deadline = milliseconds{5'000};
    options.in_flight_max = 64;
    return options;
}

std::string_view property_of(const Message& message, std::string_view name) {
    for (const auto& [key, value] : message.properties) {
        if (key == name) {
            return value;
        }
    }
    return {};
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

/// Host and port of the broker that has the message.
std::string host_of(const std::string& message_id) {
    const Result<wire::MessageLocation> at = wire::parse_message_id(message_id);
    return at ? wire::to_string(at->store_host) : std::string();
}

/// Adds the words of `text`, each once.
void add_words(std::string_view text, std::set<std::string>& words, std::size_t& bytes) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end > 0 && words.emplace(text.substr(0, end)).second) {
            bytes += end + 1;
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

}  // namespace

Tracer::Tracer(Runtime& runtime, const std::string& group, const std::string& role, double sample)
    : runtime_(runtime),
      slot_(runtime.control()),
      group_(group),
      sample_(sample),
      sender_(std::make_shared<Sender>(runtime, runtime.control(), options_of(group, role))),
      written_(runtime.metrics().counter("gantry_client_trace_records_total",
                                         "Trace records that a broker has.")),
      dropped_(runtime.metrics().counter("gantry_client_trace_dropped_total",
                                         "Trace records that found no room, or did not arrive.")),
      random_(random_seed()) {}

Tracer::~Tracer() = default;

void Tracer::start() {
    sender_->start();
    slot_.post([weak = weak_from_this()] {
        const std::shared_ptr<Tracer> self = weak.lock();
        if (self == nullptr) {
            return;
        }
        self->timer_ =
            std::make_unique<net::Timer>(self->slot_.loop(), [t = self.get()] { t->flush(); });
        self->timer_->start_every(kPeriod);
    });
}

void Tracer::close() {
    {
        const MutexLock lock(mutex_);
        if (std::exchange(is_closed_, true)) {
            return;
        }
    }
    flush();
    if (slot_.loop().in_loop()) {
        timer_.reset();
    } else {
        slot_.run_and_wait([this] { timer_.reset(); });
    }
    static_cast<void>(sender_->close(kCloseLimit));
}

std::string Tracer::new_id() {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string id(kIdDigits, '0');
    const MutexLock lock(mutex_);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < id.size(); ++i) {
        bits = i % 16 == 0 ? random_.next() : bits >> 4U;
        id[i] = kHex[bits & 0xFU];
    }
    return id;
}

bool Tracer::choose(Message& message) {
    const std::string_view given = property_of(message, wire::property::kUniqueKey);
    if (!given.empty()) {
        return is_traced(given, sample_);
    }
    std::string id = new_id();
    if (!is_traced(id, sample_)) {
        return false;
    }
    message.properties.emplace_back(wire::property::kUniqueKey, std::move(id));
    return true;
}

void Tracer::sent(const Message& message,
                  const Result<SendReceipt>& result,
                  std::chrono::nanoseconds took) {
    TraceRecord record;
    record.cost_ms = std::chrono::duration_cast<milliseconds>(took).count();
    record.at_ms = runtime_.clock().wall_ms() - std::chrono::ceil<milliseconds>(took).count();
    record.group = group_;
    record.topic = message.topic;
    record.message_id = property_of(message, wire::property::kUniqueKey);
    record.tags = message.tag;
    record.keys = joined(message.keys);
    record.body_bytes = static_cast<std::int64_t>(message.body.size());
    record.is_success = result.has_value();
    if (result) {
        record.offset_message_id = result->message_id;
        record.store_host = host_of(result->message_id);
    }
    add(std::move(record));
}

Tracer::Delivery Tracer::delivering(std::span<const MessageView> messages) {
    Delivery delivery;
    for (const MessageView& message : messages) {
        if (is_traced(message.property(wire::property::kUniqueKey), sample_)) {
            delivery.messages.push_back(message);
        }
    }
    if (delivery.messages.empty()) {
        return delivery;
    }
    delivery.request_id = new_id();
    delivery.begin = std::chrono::steady_clock::now();
    for (const MessageView& message : delivery.messages) {
        TraceRecord record;
        record.kind = TraceRecord::Kind::kSubBefore;
        record.at_ms = runtime_.clock().wall_ms();
        record.group = group_;
        record.request_id = delivery.request_id;
        record.message_id = message.message_id();
        record.retries = message.reconsume_times();
        record.keys = message.keys();
        add(std::move(record));
    }
    return delivery;
}

void Tracer::consumed(const Delivery& delivery, bool is_success) {
    if (delivery.messages.empty()) {
        return;
    }
    const auto took = std::chrono::steady_clock::now() - delivery.begin;
    for (const MessageView& message : delivery.messages) {
        TraceRecord record;
        record.kind = TraceRecord::Kind::kSubAfter;
        record.at_ms = runtime_.clock().wall_ms();
        record.group = group_;
        record.request_id = delivery.request_id;
        record.message_id = message.message_id();
        record.cost_ms = std::chrono::duration_cast<milliseconds>(took).count();
        record.is_success = is_success;
        record.keys = message.keys();
        record.context_code = is_success ? 0 : kFailed;
        add(std::move(record));
    }
}

void Tracer::add(TraceRecord record) {
    const MutexLock lock(mutex_);
    if (waiting_.size() >= kRecordsMax || is_closed_) {
        dropped_.add();
        return;
    }
    waiting_.push_back(std::move(record));
}

void Tracer::flush() {
    std::vector<TraceRecord> records;
    {
        const MutexLock lock(mutex_);
        records.swap(waiting_);
    }
    std::span<const TraceRecord> rest(records);
    while (!rest.empty()) {
        const std::size_t count = std::min(rest.size(), kBatchMax);
        send(rest.first(count));
        rest = rest.subspan(count);
    }
}

/// One trace message, or two where one would be too large.
void Tracer::send(std::span<const TraceRecord> records) {
    Message message;
    message.topic = kTraceTopic;
    std::set<std::string> keys;
    std::size_t key_bytes = 0;
    for (const TraceRecord& record : records) {
        append_trace(message.body, record);
        add_words(record.message_id, keys, key_bytes);
        add_words(record.keys, keys, key_bytes);
    }
    const bool is_large = message.body.size() > kBodyBytesMax || key_bytes > kKeyBytesMax;
    if (is_large && records.size() > 1) {
        send(records.first(records.size() / 2));
        send(records.subspan(records.size() / 2));
        return;
    }
    message.keys.assign(keys.begin(), keys.end());
    const std::size_t count = records.size();
    const Status accepted = sender_->accept(
        std::move(message),
        SendTarget{},
        [count, &written = written_, &dropped = dropped_](const Result<SendReceipt>& sent) {
            (sent ? written : dropped).add(count);
        });
    if (!accepted) {
        dropped_.add(count);
    }
}

}  // namespace gantry::client
