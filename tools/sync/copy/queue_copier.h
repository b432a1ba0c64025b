// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/copy/copy_producer.h"
#include "client/message.h"
#include "common/clock.h"
#include "common/random.h"
#include "sync/config/config.h"
#include "sync/copy/pace.h"

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace gantry::sync {

/// What is the same for all queues of one topic of a route.
struct CopyRule {
    std::string route;
    std::string from;
    std::string to;
    std::string target_topic;
    QueueMapping mapping = QueueMapping::kSame;
    OnLoss on_loss = OnLoss::kStop;
    bool local_only = false;
    /// The target refuses frames that do not follow. If not, one frame of a stream is under way at
    /// a time, so that what is stored never has a gap.
    bool is_numbered = true;
    std::int64_t frame_bytes = std::int64_t{1} << 20U;
    std::int64_t window_bytes = std::int64_t{32} << 20U;
    std::size_t frame_messages = 16'384;  ///< a broker takes 65,536
};

/// How far both sides say a queue is.
struct Recovery {
    std::vector<client::QueueId> targets;
    std::vector<std::optional<client::StreamPosition>> known;  ///< of each target
    std::int64_t floor = 0;    ///< committed at the source: all below it is done
    std::int64_t covered = 0;  ///< the sum of the targets' positions when that was committed
    /// Of a target without numbers: where the source ended when it was asked, if another copier may
    /// have come before this one, which has left a frame under way; else 0.
    std::int64_t inherited_end = 0;
};

/// What one queue has come to, for people.
struct CopyCounts {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t skipped = 0;  ///< were in the target's cluster before
    std::uint64_t lost = 0;     ///< passed over: gone at the source, or refused by the target
    std::uint64_t retries = 0;  ///< frames that failed
    std::uint64_t rewinds = 0;  ///< the target had lost what it had acknowledged
    std::uint64_t repeats = 0;  ///< messages sent again to a target that may have had them
};

/// Copies one source queue: what was read becomes frames, numbered by source offsets, of which many
/// are under way at once; what fails makes it ask where the target is and begin again there.
///
///   begin_recovery -> (positions are asked for) -> recovered -> offer, next_frame, stored ...
///         ^------------------------- failed -----------------------------'
///
/// Once      a frame stands for the offsets [first, first + span), and the target takes it only
///           when it has everything before `first` and nothing after. So no offset is stored twice,
///           whoever else copies the queue and whatever a dead process has still on its way.
///           A target that does not know where it was, or knows no numbers at all, may get some
///           again: they are counted.
/// Order     messages of one target queue are stored in the order of the source queue.
/// Threads   one.
class QueueCopier {
public:
    /// What it does now. kStands: until somebody decides, see reason().
    enum class State : std::uint8_t { kWaiting, kRecovering, kRunning, kStands };

    QueueCopier(client::QueueId source, CopyRule rule, std::uint64_t stream);

    const client::QueueId& source() const noexcept { return source_; }

    State state() const noexcept { return state_; }

    /// Why it does not run, or last did not.
    const std::string& reason() const noexcept { return reason_; }

    /// Whether to ask for the positions now.
    bool is_due(SteadyTime now) const noexcept {
        return state_ == State::kWaiting && now >= not_before_;
    }

    /// Starts over; what is answered for an earlier generation does not count.
    std::uint64_t begin_recovery();

    std::uint64_t generation() const noexcept { return generation_; }

    /// What the sides have said; the offset to read from.
    std::int64_t recovered(const Recovery& found);
    /// It could not be found out, or a frame has failed. Tries again after a while.
    void failed(const Error& error, SteadyTime now, Random& random);
    /// A frame has failed because the target refuses it: then frames of one message find which.
    void refused(std::int64_t first, const Error& error, SteadyTime now, Random& random);

    /// The next message that was read. Ignored unless it runs.
    void offer(const client::MessageView& message);
    /// Everything below `offset` was read: what was not offered is not wanted.
    void passed(std::int64_t offset);
    /// Messages that will never come.
    void lost(const client::LostMessages& lost);

    /// It is not copied any more, until the route is started anew.
    void stand(const std::string& reason);

    /// Whether there is a frame to send and room in the window.
    bool has_frame() const noexcept;
    /// Where it goes; has_frame() holds.
    const client::QueueId& next_target() const noexcept;
    /// That frame, of at most so many bytes, but for a single message; has_frame() holds.
    client::CopiedFrame next_frame(std::int64_t most_bytes);
    /// It is stored.
    void stored(std::int32_t target, std::int64_t first);

    /// Whether more is to be read.
    bool wants_more() const noexcept;
    /// Everything below it is stored or not wanted.
    std::int64_t done() const noexcept;
    /// Sum of the targets' positions, as far as they are known to be stored.
    std::int64_t covered() const noexcept;

    /// Where it reads next; -1 unless it runs.
    std::int64_t position() const noexcept { return state_ == State::kRunning ? read_next_ : -1; }

    /// Of the oldest message that is not stored; of the last one when all are.
    WallMs oldest_ms() const noexcept { return oldest_ms_; }

    const std::vector<client::QueueId>& targets() const noexcept { return targets_; }

    /// Frames that are under way.
    std::int64_t flying() const noexcept;

    const CopyCounts& counts() const noexcept { return counts_; }

    /// Adds the bytes that are under way, by target broker.
    void add_flying(std::map<std::string, std::int64_t>& bytes) const;
    /// Index of a queue among targets().
    std::size_t index_of(const client::QueueId& target) const noexcept;

private:
    struct Flight {
        std::int64_t first = 0;
        std::int64_t end = 0;
        std::int64_t first_message = 0;
        std::int64_t bytes = 0;
        std::size_t count = 0;
        WallMs store_ms = 0;
        bool is_stored = false;
    };

    /// A message that was refused alone, until it is sure that nobody else has stored it.
    struct Suspect {
        std::int64_t first = 0;  ///< number of its frame
        std::int64_t offset = 0;
        std::string why;
    };

    /// What a copier before this one may have sent, behind where this one begins: no more than one
    /// frame holds, if it begins behind the last copy that is there.
    struct Inherited {
        std::int64_t end = 0;
        std::int64_t messages = std::numeric_limits<std::int64_t>::max();
        std::int64_t bytes = std::numeric_limits<std::int64_t>::max();
    };

    /// What goes to one target queue.
    struct Stream {
        std::uint32_t epoch = 0;
        std::int64_t next = 0;   ///< number of the next frame
        std::int64_t acked = 0;  ///< all below it is stored
        std::int64_t maybe = 0;  ///< the target may have what is below it; it cannot tell
        Inherited inherited;
        std::deque<client::MessageView> waiting;
        std::deque<Flight> flights;
        std::vector<Flight> unsure;  ///< were under way when something failed
    };

    bool has_gone_back(const Recovery& found, const std::vector<Stream>& before) const;
    void tell_rewind(const Recovery& found, std::int64_t start);
    static std::int64_t next_of(const std::optional<client::StreamPosition>& known) noexcept;
    static std::int64_t take_over(Stream& stream,
                                  const Stream* before,
                                  const std::optional<client::StreamPosition>& known,
                                  std::int64_t floor);
    std::int64_t take_over_unnumbered(Stream& stream,
                                      const Stream* before,
                                      const std::optional<client::StreamPosition>& known,
                                      const Recovery& found) const;
    static bool may_be_there(Stream& stream, std::int64_t offset, std::int64_t bytes) noexcept;
    Stream& stream_for(const client::MessageView& message);
    std::size_t take_messages(Stream& stream,
                              std::int64_t most_bytes,
                              client::CopiedFrame& frame,
                              Flight& flight);
    void count_stored(const Flight& flight);
    bool is_open(const Stream& stream) const noexcept;
    bool is_too_far(std::int64_t from, std::int64_t offset) const noexcept;
    std::size_t next_stream() const noexcept;
    static std::int64_t open_end(const Stream& stream) noexcept;
    void stand_apart(const Stream& stream, std::int64_t offset);
    void pass_over(const Suspect& suspect);
    void drop_all();

    const client::QueueId source_;
    const CopyRule rule_;
    const std::uint64_t stream_;
    State state_ = State::kWaiting;
    std::string reason_ = "starting";
    std::uint64_t generation_ = 0;
    SteadyTime not_before_{};
    Backoff backoff_{std::chrono::milliseconds(20), std::chrono::milliseconds(5'000)};
    std::vector<client::QueueId> targets_;
    std::vector<Stream> streams_;
    std::int64_t read_next_ = 0;
    std::int64_t done_ = 0;           ///< as last known while it does not run
    std::int64_t waiting_bytes_ = 0;  ///< offered, not in a frame
    std::int64_t flying_bytes_ = 0;
    std::int64_t single_until_ = -1;  ///< below it frames have one message
    std::int64_t refused_ = -1;       ///< number of the frame that was refused last
    std::optional<Suspect> suspect_;
    std::set<std::int64_t> skips_;  ///< offsets that are passed over: refused alone
    WallMs oldest_ms_ = 0;
    CopyCounts counts_;
};

/// "waiting", "recovering", "running", "stands".
std::string_view name_of(QueueCopier::State state) noexcept;

}  // namespace gantry::sync
