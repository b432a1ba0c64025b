// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/queue_copier.h"

#include "common/checksum.h"
#include "common/log.h"
#include "sync/copy/marks.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace gantry::sync {
namespace {

constexpr Logger kLog("sync");
constexpr std::size_t kFlightsMax = 64;         // of one target queue
constexpr std::int64_t kMessageOverhead = 256;  // of a record beside its body, about

std::int64_t bytes_of(const client::MessageView& message) {
    return static_cast<std::int64_t>(message.body().size() + message.raw_properties().size()) +
           kMessageOverhead;
}

}  // namespace

QueueCopier::QueueCopier(client::QueueId source, CopyRule rule, std::uint64_t stream)
    : source_(std::move(source)), rule_(std::move(rule)), stream_(stream) {}

std::uint64_t QueueCopier::begin_recovery() {
    state_ = State::kRecovering;
    return ++generation_;
}

std::int64_t QueueCopier::next_of(const std::optional<client::StreamPosition>& known) noexcept {
    return known ? known->next : 0;
}

/// Whether a target has less than it had. Where there are no numbers only its end was looked at,
/// which may have nothing of the queue.
bool QueueCopier::has_gone_back(const Recovery& found, const std::vector<Stream>& before) const {
    std::int64_t sum = 0;
    bool is_less = false;
    for (std::size_t i = 0; i < found.known.size(); ++i) {
        const std::int64_t has = next_of(found.known[i]);
        sum += has;
        is_less = is_less || (i < before.size() && has < before[i].acked);  // others may go on
    }
    return rule_.is_numbered && (is_less || sum < found.covered);
}

void QueueCopier::tell_rewind(const Recovery& found, std::int64_t start) {
    ++counts_.rewinds;
    std::int64_t sum = 0;
    for (const auto& known : found.known) {
        sum += next_of(known);
    }
    kLog.warn("target_went_back",
              {{"topic", source_.topic},
               {"broker", source_.broker},
               {"queue", source_.queue},
               {"covered", found.covered},
               {"now", sum},
               {"from", start}});
}

/// Where to read for a stream whose target knows numbers; `before`: what it was, if it was.
std::int64_t QueueCopier::take_over(Stream& stream,
                                    const Stream* before,
                                    const std::optional<client::StreamPosition>& known,
                                    std::int64_t floor) {
    if (known) {
        stream.epoch = known->epoch;
        stream.next = stream.acked = known->next;
        return std::max(known->next, floor);
    }
    if (before != nullptr) {
        stream.maybe = std::max(before->maybe, before->next);
    }
    return floor;
}

/// The same where it knows none: what was acknowledged is stored, also if nobody sees it yet.
std::int64_t QueueCopier::take_over_unnumbered(Stream& stream,
                                               const Stream* before,
                                               const std::optional<client::StreamPosition>& known,
                                               const Recovery& found) const {
    std::int64_t next = next_of(known);
    if (before == nullptr) {
        stream.inherited.end = found.inherited_end;
        if (known) {
            stream.inherited.messages = static_cast<std::int64_t>(rule_.frame_messages);
            stream.inherited.bytes = rule_.frame_bytes;
        }
    } else {
        next = std::max(next, before->acked);
        stream.maybe = std::max(before->maybe, before->next);
        stream.inherited = before->inherited;
    }
    stream.next = stream.acked = next;
    return std::max(next, found.floor);
}

std::int64_t QueueCopier::recovered(const Recovery& found) {
    targets_ = found.targets;
    const std::vector<Stream> before = std::exchange(streams_, {});
    streams_.resize(targets_.size());
    const bool is_rewound = has_gone_back(found, before);
    std::int64_t start = std::numeric_limits<std::int64_t>::max();
    for (std::size_t i = 0; i < streams_.size(); ++i) {
        const Stream* const last = i < before.size() ? &before[i] : nullptr;
        const auto& known = found.known[i];
        const std::int64_t floor = is_rewound && known ? known->next : found.floor;
        const std::int64_t from = rule_.is_numbered
                                      ? take_over(streams_[i], last, known, floor)
                                      : take_over_unnumbered(streams_[i], last, known, found);
        start = std::min(start, from);
        for (const Flight& flight : last != nullptr ? last->unsure : std::vector<Flight>{}) {
            if (flight.end <= streams_[i].next) {  // the answer was lost, not the frame
                count_stored(flight);
            }
        }
    }
    if (is_rewound) {
        tell_rewind(found, start);
    }
    const bool is_refused = std::any_of(
        streams_.begin(), streams_.end(), [this](const Stream& s) { return s.next == refused_; });
    if (!is_refused) {  // the frame was in the way of another, or has come in since
        single_until_ = -1;
    }
    state_ = State::kRunning;
    reason_.clear();
    read_next_ = done_ = start;
    if (const std::optional<Suspect> suspect = std::exchange(suspect_, std::nullopt);
        suspect && is_refused && suspect->first == refused_) {
        pass_over(*suspect);
    }
    return start;
}

/// The target refuses it, and has not got it from anybody else.
void QueueCopier::pass_over(const Suspect& suspect) {
    kLog.error("message_refused",
               {{"topic", source_.topic},
                {"broker", source_.broker},
                {"queue", source_.queue},
                {"offset", suspect.offset},
                {"error", suspect.why}});
    if (rule_.on_loss == OnLoss::kStop) {
        stand("the target refuses the message at offset " + std::to_string(suspect.offset) + ": " +
              suspect.why);
    } else {
        ++counts_.lost;
        skips_.insert(suspect.offset);
    }
}

void QueueCopier::failed(const Error& error, SteadyTime now, Random& random) {
    if (state_ == State::kStands) {
        return;
    }
    if (state_ == State::kRunning) {
        ++counts_.retries;
    }
    drop_all();
    state_ = State::kWaiting;
    reason_ = to_string(error);
    not_before_ = backoff_.failed(now, random);
}

void QueueCopier::refused(std::int64_t first, const Error& error, SteadyTime now, Random& random) {
    const Flight* flight = nullptr;
    for (const Stream& stream : streams_) {
        for (const Flight& flying : stream.flights) {
            flight = flying.first == first ? &flying : flight;
        }
    }
    if (flight == nullptr || state_ != State::kRunning) {
        failed(error, now, random);
        return;
    }
    const bool is_alone = flight->count == 1 && refused_ == first;
    refused_ = first;
    single_until_ = std::max(single_until_, flight->end);
    if (is_alone) {
        suspect_ = Suspect{first, flight->first_message, error.detail};
    }
    failed(error, now, random);
}

void QueueCopier::stand(const std::string& reason) {
    drop_all();
    state_ = State::kStands;
    reason_ = reason;
    kLog.error("queue_stands",
               {{"topic", source_.topic},
                {"broker", source_.broker},
                {"queue", source_.queue},
                {"reason", reason}});
}

void QueueCopier::drop_all() {
    done_ = done();
    ++generation_;
    for (Stream& stream : streams_) {
        stream.waiting.clear();
        std::copy_if(stream.flights.begin(),
                     stream.flights.end(),
                     std::back_inserter(stream.unsure),
                     [](const Flight& flight) { return !flight.is_stored; });
        stream.flights.clear();
    }
    waiting_bytes_ = 0;
    flying_bytes_ = 0;
}

QueueCopier::Stream& QueueCopier::stream_for(const client::MessageView& message) {
    if (streams_.size() == 1) {
        return streams_.front();
    }
    const std::string_view key = key_of(message);
    const std::uint64_t hash = key.empty() ? stream_ : xxh3(as_bytes(key));
    return streams_[hash % streams_.size()];
}

void QueueCopier::offer(const client::MessageView& message) {
    const std::int64_t offset = message.queue_offset();
    if (state_ != State::kRunning || offset < read_next_) {
        return;
    }
    if (waiting_bytes_ == 0 && flying_bytes_ == 0) {
        oldest_ms_ = message.store_ms();
    }
    read_next_ = offset + 1;
    if (skips_.count(offset) != 0) {
        return;
    }
    if (!may_go(message, rule_.from, rule_.to, rule_.local_only)) {
        ++counts_.skipped;
        return;
    }
    Stream& stream = stream_for(message);
    if (offset < stream.next) {
        return;  // the target has it
    }
    if (is_too_far(open_end(stream), offset)) {
        stand_apart(stream, offset);
        return;
    }
    waiting_bytes_ += bytes_of(message);
    stream.waiting.push_back(message);
}

/// Number of the first offset that is in no frame and not waiting for one.
std::int64_t QueueCopier::open_end(const Stream& stream) noexcept {
    return stream.waiting.empty() ? stream.next : stream.waiting.back().queue_offset() + 1;
}

bool QueueCopier::is_too_far(std::int64_t from, std::int64_t offset) const noexcept {
    return rule_.is_numbered && offset - from >= client::CopiedFrame::kSpanMax;
}

/// No frame can stand for all that lies between what was copied and this message.
void QueueCopier::stand_apart(const Stream& stream, std::int64_t offset) {
    read_next_ = offset;
    stand("the message at offset " + std::to_string(offset) + " would be in a frame from " +
          std::to_string(open_end(stream)) + " on, that stands for more offsets than " +
          std::to_string(client::CopiedFrame::kSpanMax));
}

void QueueCopier::passed(std::int64_t offset) {
    if (state_ == State::kRunning && waiting_bytes_ == 0) {
        read_next_ = std::max(read_next_, offset);
    }
}

void QueueCopier::lost(const client::LostMessages& lost) {
    if (state_ != State::kRunning || lost.to <= read_next_) {
        return;
    }
    const std::string what = "messages " + std::to_string(std::max(lost.from, read_next_)) +
                             " to " + std::to_string(lost.to - 1) + " are gone at the source: " +
                             std::string(client::name_of(lost.reason));
    if (rule_.on_loss == OnLoss::kStop) {
        stand(what);
        return;
    }
    kLog.error("messages_lost",
               {{"topic", source_.topic},
                {"broker", source_.broker},
                {"queue", source_.queue},
                {"what", what}});
    counts_.lost += static_cast<std::uint64_t>(lost.to - std::max(lost.from, read_next_));
    read_next_ = lost.to;
}

bool QueueCopier::is_open(const Stream& stream) const noexcept {
    return !stream.waiting.empty() && stream.flights.size() < (rule_.is_numbered ? kFlightsMax : 1);
}

bool QueueCopier::has_frame() const noexcept {
    return state_ == State::kRunning && flying_bytes_ < rule_.window_bytes &&
           std::any_of(streams_.begin(), streams_.end(), [this](const Stream& stream) {
               return is_open(stream);
           });
}

std::size_t QueueCopier::next_stream() const noexcept {
    const auto found = std::find_if(
        streams_.begin(), streams_.end(), [this](const Stream& stream) { return is_open(stream); });
    return static_cast<std::size_t>(found - streams_.begin());
}

const client::QueueId& QueueCopier::next_target() const noexcept {
    return targets_[next_stream()];
}

/// Whether the target may have a message that is about to be sent.
bool QueueCopier::may_be_there(Stream& stream, std::int64_t offset, std::int64_t bytes) noexcept {
    Inherited& inherited = stream.inherited;
    const bool is_inherited =
        offset < inherited.end && inherited.messages > 0 && inherited.bytes > 0;
    if (is_inherited) {
        --inherited.messages;
        inherited.bytes -= bytes;
    }
    return is_inherited || offset < stream.maybe;
}

std::size_t QueueCopier::take_messages(Stream& stream,
                                       std::int64_t most_bytes,
                                       client::CopiedFrame& frame,
                                       Flight& flight) {
    const client::MessageView& front = stream.waiting.front();
    const std::size_t most = front.queue_offset() < single_until_ ? 1 : rule_.frame_messages;
    flight.first_message = front.queue_offset();
    flight.store_ms = front.store_ms();
    while (!stream.waiting.empty() && frame.messages.size() < most) {
        const client::MessageView& message = stream.waiting.front();
        const std::int64_t bytes = bytes_of(message);
        const bool is_full =
            flight.bytes + bytes > most_bytes || is_too_far(stream.next, message.queue_offset());
        if (!frame.messages.empty() && is_full) {
            break;
        }
        counts_.repeats += may_be_there(stream, message.queue_offset(), bytes) ? 1 : 0;
        frame.messages.push_back(copy_of(message, rule_.from, source_, rule_.target_topic));
        if (!rule_.is_numbered) {
            frame.messages.back().message.properties.emplace_back(mark::kRoute, rule_.route);
        }
        flight.bytes += bytes;
        flight.end = message.queue_offset() + 1;
        stream.waiting.pop_front();
    }
    return frame.messages.size();
}

client::CopiedFrame QueueCopier::next_frame(std::int64_t most_bytes) {
    const std::size_t at = next_stream();
    Stream& stream = streams_[at];
    client::CopiedFrame frame;
    Flight flight;
    flight.count = take_messages(stream, std::min(most_bytes, rule_.frame_bytes), frame, flight);
    flight.first = stream.next;
    frame.queue = targets_[at];
    frame.stream = stream_;
    frame.epoch = stream.epoch;
    frame.first = stream.next;
    frame.span = static_cast<std::uint32_t>(
        rule_.is_numbered ? flight.end - stream.next : static_cast<std::int64_t>(flight.count));
    stream.next = flight.end;
    waiting_bytes_ -= flight.bytes;
    flying_bytes_ += flight.bytes;
    stream.flights.push_back(flight);
    return frame;
}

void QueueCopier::count_stored(const Flight& flight) {
    counts_.messages += flight.count;
    counts_.bytes += static_cast<std::uint64_t>(flight.bytes);
}

void QueueCopier::stored(std::int32_t target, std::int64_t first) {
    Stream& stream = streams_[static_cast<std::size_t>(target)];
    for (Flight& flight : stream.flights) {
        if (flight.first == first && !flight.is_stored) {
            flight.is_stored = true;
            count_stored(flight);
            flying_bytes_ -= flight.bytes;
            break;
        }
    }
    while (!stream.flights.empty() && stream.flights.front().is_stored) {
        stream.acked = stream.flights.front().end;
        stream.flights.pop_front();
    }
    if (refused_ >= 0 && stream.acked >= single_until_) {
        refused_ = single_until_ = -1;
        skips_.erase(skips_.begin(), skips_.lower_bound(stream.acked));
    }
    backoff_.succeeded();
    for (const Stream& each : streams_) {
        if (!each.flights.empty()) {
            oldest_ms_ = each.flights.front().store_ms;
        } else if (!each.waiting.empty()) {
            oldest_ms_ = each.waiting.front().store_ms();
        }
    }
}

bool QueueCopier::wants_more() const noexcept {
    return state_ == State::kRunning && waiting_bytes_ < 2 * rule_.frame_bytes;
}

std::int64_t QueueCopier::done() const noexcept {
    if (state_ != State::kRunning) {
        return done_;
    }
    std::int64_t done = read_next_;
    for (const Stream& stream : streams_) {
        if (!stream.flights.empty()) {
            done = std::min(done, stream.flights.front().first_message);
        } else if (!stream.waiting.empty()) {
            done = std::min(done, stream.waiting.front().queue_offset());
        }
    }
    return done;
}

std::int64_t QueueCopier::covered() const noexcept {
    std::int64_t sum = 0;
    if (!rule_.is_numbered) {
        return sum;  // nobody could hold it against anything
    }
    for (const Stream& stream : streams_) {
        sum += stream.acked;
    }
    return sum;
}

std::int64_t QueueCopier::flying() const noexcept {
    std::size_t frames = 0;
    for (const Stream& stream : streams_) {
        frames += stream.flights.size();
    }
    return static_cast<std::int64_t>(frames);
}

void QueueCopier::add_flying(std::map<std::string, std::int64_t>& bytes) const {
    for (std::size_t i = 0; i < streams_.size(); ++i) {
        for (const Flight& flight : streams_[i].flights) {
            bytes[targets_[i].broker] += flight.is_stored ? 0 : flight.bytes;
        }
    }
}

std::size_t QueueCopier::index_of(const client::QueueId& target) const noexcept {
    const auto found = std::find(targets_.begin(), targets_.end(), target);
    return static_cast<std::size_t>(found - targets_.begin());
}

std::string_view name_of(QueueCopier::State state) noexcept {
    switch (state) {
        case QueueCopier::State::kWaiting:
            return "waiting";
        case QueueCopier::State::kRecovering:
            return "recovering";
        case QueueCopier::State::kRunning:
            return "running";
        case QueueCopier::State::kStands:
            break;
    }
    return "stands";
}

}  // namespace gantry::sync
