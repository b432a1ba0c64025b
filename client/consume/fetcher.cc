// SPDX-License-Identifier: Apache-2.0
#include "client/consume/fetcher.h"

#include "client/consume/answer_check.h"
#include "client/consume/offsets.h"
#include "client/consume/selector_check.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "common/log.h"
#include "protocol/wire/message.pb.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");

constexpr milliseconds kSlack{5'000};      // beyond the hold until the broker counts as stuck
constexpr milliseconds kQuickEmpty{5};     // a held pull that finds nothing lasts longer
constexpr milliseconds kEmptyPause{20};    // after one that did not
constexpr milliseconds kFailurePause{20};  // doubles with each further failure
constexpr milliseconds kFailurePauseMax{1'000};
constexpr std::uint32_t kDoublingsMax = 6;
constexpr std::int32_t kSuspend = 2;
constexpr std::int32_t kHasSubscription = 4;

}  // namespace

Fetcher::Fetcher(Runtime& runtime, LoopSlot& slot, QueueId queue, FetchOptions options)
    : runtime_(runtime),
      slot_(slot),
      queue_(std::move(queue)),
      options_(std::move(options)),
      corrupt_count_(runtime.metrics().counter("gantry_client_corrupt_answers_total",
                                               "Pull answers with a record that fails its checks")),
      standing_count_(
          runtime.metrics().counter("gantry_client_queues_standing_total",
                                    "Queues that stopped because their offset is out of range")),
      unpinned_(std::make_shared<const ReceivedBody>(ReceivedBody{nullptr, queue_.broker})) {}

Fetcher::~Fetcher() = default;

void Fetcher::seek(std::int64_t offset, std::uint64_t epoch, std::weak_ptr<FetchSink> sink) {
    slot_.post([self = shared_from_this(), offset, epoch, sink = std::move(sink)] {
        if (self->is_stopped_) {
            return;
        }
        self->sink_ = sink;
        self->offset_ = offset;
        self->epoch_ = epoch;
        self->is_asking_ = false;
        ++self->asked_;  // an answer that is still to come is dropped
        self->is_waiting_ = false;
        self->is_suspect_ = false;
        self->pull_in_loop();
    });
}

void Fetcher::resume() {
    slot_.post([self = shared_from_this()] {
        if (std::exchange(self->is_waiting_, false)) {
            self->pull_in_loop();
        }
    });
}

void Fetcher::stop() {
    slot_.post([self = shared_from_this()] {
        self->is_stopped_ = true;
        self->timer_.reset();
        self->sink_.reset();
        self->forget_unchecked_in_loop();
    });
}

void Fetcher::pull_in_loop() {
    if (is_stopped_ || is_waiting_ || std::exchange(is_asking_, true)) {
        return;
    }
    address_ = runtime_.routes().reader_of(queue_.broker, reader_);
    if (address_.empty()) {
        is_asking_ = false;
        failed_in_loop(Error{Errc::kGone, "no route names broker " + queue_.broker});
        return;
    }
    wire::PullMessageRequest fields;
    fields.set_consumergroup(options_.group);
    fields.set_topic(queue_.topic);
    fields.set_queueid(queue_.queue);
    fields.set_queueoffset(offset_);
    fields.set_maxmsgnums(is_suspect_ ? 1 : static_cast<std::int32_t>(options_.messages_max));
    fields.set_maxmsgbytes(static_cast<std::int32_t>(options_.bytes_max));
    fields.set_sysflag(kSuspend | kHasSubscription);
    fields.set_commitoffset(0);
    fields.set_suspendtimeoutmillis(options_.hold.count());
    fields.set_subscription(options_.selector.expression());
    fields.set_subversion(options_.subscription_version);
    fields.set_expressiontype(std::string(type_of(options_.selector)));
    if (options_.lock_token != 0) {
        fields.set_locktoken(options_.lock_token);
    }
    asked_at_ = slot_.loop().pass_time();
    slot_.channel(address_).call(
        {wire::RequestCode::kPullMessage, &fields, {}},
        options_.hold + kSlack,
        [self = shared_from_this(), asked = ++asked_](Result<net::Received>& result) {
            self->answered_in_loop(result, asked);
        });
}

void Fetcher::answered_in_loop(Result<net::Received>& result, std::uint64_t asked) {
    if (unchecked_) {
        // The pass that brought it had too much to do at its end. What came first comes first.
        slot_.loop().role().assert_held();
        slot_.loop().forget(*this);
        on_pass_end();
    }
    if (is_stopped_ || asked != asked_) {
        return;
    }
    is_asking_ = false;
    if (!result) {
        failed_in_loop(result.error());
        return;
    }
    const wire::ResponseCode code = result->header.response();
    const bool is_answer =
        code == wire::ResponseCode::kSuccess || code == wire::ResponseCode::kPullNotFound ||
        code == wire::ResponseCode::kPullRetryImmediately ||
        code == wire::ResponseCode::kPullOffsetMoved || code == wire::ResponseCode::kDataLost ||
        code == wire::ResponseCode::kOffsetOutOfRange;
    wire::PullMessageResponse fields;
    const Status status =
        is_answer ? wire::decode_fields(result->header, fields) : check_response(*result, address_);
    if (!status) {
        failed_in_loop(status.error());
        return;
    }
    failures_ = 0;
    reader_ = fields.suggestwhichbrokerid();
    if (code == wire::ResponseCode::kOffsetOutOfRange) {
        stand_in_loop(fields);
        return;
    }
    is_standing_ = false;
    if (code == wire::ResponseCode::kSuccess) {
        deliver_in_loop(*result, fields);
    } else if (code == wire::ResponseCode::kDataLost) {
        lost_in_loop(fields);
    } else {
        nothing_in_loop(*result, fields);
    }
}

void Fetcher::deliver_in_loop(const net::Received& received,
                              const wire::PullMessageResponse& fields) {
    Answer answer{
        .records = received.body,
        .origin = std::make_shared<const ReceivedBody>(ReceivedBody{received.pin(), queue_.broker}),
        .from = offset_,
        .next = fields.nextbeginoffset()};
    const std::shared_ptr<FetchSink> sink = sink_.lock();
    if (!options_.check_crc || is_suspect_ || sink == nullptr ||
        !sink->has_room_for(queue_, answer.records.size())) {
        check_in_loop(answer);
        return;
    }
    offset_ = answer.next;
    unchecked_ = Unchecked{shared_from_this(), std::move(answer), epoch_};
    pull_in_loop();
    slot_.loop().role().assert_held();
    slot_.loop().at_pass_end(*this);
}

void Fetcher::on_pass_end() {
    if (!unchecked_) {
        return;
    }
    const Unchecked unchecked = *std::exchange(unchecked_, std::nullopt);
    if (!is_stopped_ && unchecked.epoch == epoch_) {
        check_in_loop(unchecked.answer);
    }
}

void Fetcher::forget_unchecked_in_loop() {
    if (unchecked_) {
        slot_.loop().role().assert_held();
        slot_.loop().forget(*this);
        unchecked_.reset();
    }
}

void Fetcher::check_in_loop(const Answer& answer) {
    if (options_.check_crc) {
        const AnswerCheck check = check_answer(answer.records, answer.from, answer.next);
        if (!check.why.empty()) {
            damaged_in_loop(answer, check);
            return;
        }
    }
    is_suspect_ = false;
    Chunk chunk;
    chunk.records = answer.records;
    chunk.origin = answer.origin;
    chunk.next_offset = answer.next;
    give_in_loop(std::move(chunk));
}

void Fetcher::damaged_in_loop(const Answer& answer, const AnswerCheck& check) {
    // What was asked for behind it is not wanted yet.
    ++asked_;
    is_asking_ = false;
    offset_ = answer.from;
    corrupt_count_.add();
    kLog.error("pull_answer_corrupt",
               {{"topic", queue_.topic},
                {"broker", queue_.broker},
                {"queue", queue_.queue},
                {"from", check.bad_from},
                {"to", check.bad_to},
                {"reason", std::string_view(check.why)}});
    const bool was_suspect = std::exchange(is_suspect_, true);
    Chunk chunk;
    chunk.origin = unpinned_;
    if (check.good_bytes > 0) {
        chunk.records = answer.records.first(check.good_bytes);
        chunk.origin = answer.origin;
        chunk.next_offset = check.bad_from;
    } else if (was_suspect && check.bad_to > check.bad_from) {
        is_suspect_ = false;
        chunk.lost = LostRun{check.bad_from, check.bad_to, LostReason::kDamagedInAnswer};
        chunk.next_offset = check.bad_to;
    } else {
        pull_after_in_loop(kFailurePause);
        return;
    }
    give_in_loop(std::move(chunk));
}

void Fetcher::lost_in_loop(const wire::PullMessageResponse& fields) {
    const std::int64_t from = fields.lostfrom();
    const std::int64_t to = fields.lostto();
    if (from < offset_ || to <= from || fields.nextbeginoffset() < to || to > fields.maxoffset()) {
        failed_in_loop(Error{Errc::kCorrupt,
                             "asked for offset " + std::to_string(offset_) + ", broker " +
                                 queue_.broker + " tells " + std::to_string(from) + " to " +
                                 std::to_string(to) + " as lost, " +
                                 std::to_string(fields.nextbeginoffset()) + " as the next and " +
                                 std::to_string(fields.maxoffset()) + " as the end"});
        return;
    }
    is_suspect_ = false;
    Chunk chunk;
    chunk.origin = unpinned_;
    chunk.next_offset = fields.nextbeginoffset();
    chunk.lost = LostRun{from, to, LostReason::kDamagedInStore};
    give_in_loop(std::move(chunk));
}

void Fetcher::give_in_loop(Chunk chunk) {
    const std::shared_ptr<FetchSink> sink = sink_.lock();
    if (sink == nullptr) {
        return;
    }
    chunk.epoch = epoch_;
    offset_ = chunk.next_offset;
    is_waiting_ = !sink->on_chunk(queue_, std::move(chunk));
    pull_in_loop();
}

void Fetcher::nothing_in_loop(const net::Received& received,
                              const wire::PullMessageResponse& fields) {
    const std::shared_ptr<FetchSink> sink = sink_.lock();
    if (sink == nullptr) {
        return;
    }
    const wire::ResponseCode code = received.header.response();
    const std::int64_t next = fields.nextbeginoffset();
    const std::int64_t from = offset_;
    const bool has_moved = next != offset_;
    is_suspect_ = is_suspect_ && !has_moved;
    offset_ = next;
    if (code == wire::ResponseCode::kPullOffsetMoved) {
        kLog.warn(
            "offset_out_of_range",
            {{"topic", queue_.topic}, {"queue", queue_.queue}, {"from", from}, {"moved_to", next}});
        sink->on_moved(queue_, from, next, epoch_);
    } else if (has_moved) {
        Chunk chunk;
        chunk.origin = unpinned_;
        chunk.next_offset = next;
        chunk.epoch = epoch_;
        if (!sink->on_chunk(queue_, std::move(chunk))) {
            is_waiting_ = true;
            return;
        }
    }
    const bool was_quick = slot_.loop().pass_time() - asked_at_ < kQuickEmpty;
    if (was_quick && !has_moved) {
        pull_after_in_loop(kEmptyPause);
    } else {
        pull_in_loop();
    }
}

void Fetcher::stand_in_loop(const wire::PullMessageResponse& fields) {
    if (!std::exchange(is_standing_, true)) {
        standing_count_.add();
        kLog.error("queue_stands",
                   {{"group", options_.group},
                    {"topic", queue_.topic},
                    {"queue", queue_.queue},
                    {"offset", offset_},
                    {"min", fields.minoffset()},
                    {"max", fields.maxoffset()}});
    }
    look_for_reset_in_loop(fields.minoffset(), fields.maxoffset());
}

/// An operator may have committed an offset that exists. So may this consumer's own last commit,
/// when the end of the queue is lost: what is behind it is read again then.
void Fetcher::look_for_reset_in_loop(std::int64_t min, std::int64_t max) {
    Offsets(runtime_, slot_)
        .committed(options_.group,
                   queue_,
                   [self = shared_from_this(), asked = asked_, min, max](
                       const Result<std::optional<std::int64_t>>& known) {
                       const std::shared_ptr<FetchSink> sink = self->sink_.lock();
                       if (self->is_stopped_ || asked != self->asked_ || sink == nullptr) {
                           return;
                       }
                       if (known && known->has_value() && **known >= min && **known <= max) {
                           const std::int64_t from = std::exchange(self->offset_, **known);
                           sink->on_moved(self->queue_, from, self->offset_, self->epoch_);
                       }
                       self->pull_after_in_loop(kFailurePauseMax);
                   });
}

void Fetcher::failed_in_loop(const Error& error) {
    // A disk that cannot read is worth a line, and one that lasts no more than that. So is an
    // expression that a broker does not take.
    const bool is_told =
        error.code == Errc::kIo || error.code == Errc::kRefused || error.code == Errc::kUnsupported;
    if (is_told && failures_ == 0) {
        kLog.warn("pull_failed",
                  {{"topic", queue_.topic}, {"queue", queue_.queue}, {"error", error}});
    }
    kLog.debug("pull_failed", {{"topic", queue_.topic}, {"queue", queue_.queue}, {"error", error}});
    reader_ = 0;
    const milliseconds pause = kFailurePause * (1 << std::min(failures_, kDoublingsMax));
    ++failures_;
    if (error.code != Errc::kBusy) {
        runtime_.routes().refresh(queue_.topic);
    }
    pull_after_in_loop(std::min(pause, kFailurePauseMax));
}

void Fetcher::pull_after_in_loop(milliseconds pause) {
    if (is_stopped_) {
        return;
    }
    if (timer_ == nullptr) {
        timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { pull_in_loop(); });
    }
    timer_->start_once(pause);
}

}  // namespace gantry::client
