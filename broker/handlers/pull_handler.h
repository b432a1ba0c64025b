// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "broker/delivery/long_poll.h"
#include "broker/filter/filtered_read.h"
#include "protocol/wire/message.pb.h"

#include <string>

namespace gantry::broker {

class Dispatcher;

/// Gives messages to consumers (11, 361): bytes of the log, by sendfile or by reference, whole
/// records in queue order. A pull that finds nothing parks, when its sender allows that.
///
///   status                       code  next offset
///   found                        0     behind the last message examined
///   all filtered out             20    behind them
///   lost to damage               20    behind them; natively DATA_LOST, with the lost offsets
///   end of the queue             19    parked until a message comes, or until time-out
///   outside the queue            21    where the group's policy says; "fail": 1, natively 10061
///   the disk does not give it    1     natively IO_ERROR; nothing is skipped
///   a limit of rates is reached  19    parked until there is room, or until time-out
///
/// A slave corrects no offset and tells of no loss, as the master may know better: what it cannot
/// give it parks for a moment, then answers 20 with the offset that was asked for. Its answers send
/// the reader back to the master once it has read everything there is; those of the master send it
/// to a slave when what it reads had to come from the disk (replication.slave_reads).
///
/// Checks, in this order: group (26, 16), topic (17, 16), queue id (1), expression (23, 1) or the
/// group's subscription (24, 25).
///
/// Threads   any loop. Reads of what is not in memory come back from the store's own
///           threads (Store::read_cold).
/// Limits    one message is always given; else maxMsgNums, and 256 KiB or, natively, maxMsgBytes
///           of at most 8 MiB. With an SQL92 expression also what FilteredReader looks at.
class PullHandler final : public ParkedReader {
public:
    explicit PullHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

    bool try_answer(PullQuery& query, bool is_last) override;

private:
    /// Why a pull was refused, with the number stock clients know.
    struct Refusal {
        wire::ResponseCode code;
        std::string remark;
    };

    static Refusal refusal_of(const Error& error, const PullQuery& query);
    void pull(Call& call);
    bool is_refused(Call& call, const wire::PullMessageRequest& request, PullQuery& query);
    std::optional<Refusal> check_group(const Call& call,
                                       const wire::PullMessageRequest& request) const;
    std::optional<Refusal> check_queue(const Call& call,
                                       const wire::PullMessageRequest& request,
                                       PullQuery& query) const;
    std::optional<Refusal> check_subscription(const Call& call,
                                              const wire::PullMessageRequest& request,
                                              PullQuery& query) const;
    void set_limits(const Call& call,
                    const wire::PullMessageRequest& request,
                    PullQuery& query) const;
    /// Whether a limit of rates holds it up; it is tried again when it may go on.
    bool is_limited(const PullQuery& query);
    void park_limited(Call& call, PullQuery query);
    void send_nothing(const PullQuery& query);
    storage::ReadResult read(const PullQuery& query, bool is_fresh) const;
    bool answer(PullQuery& query, storage::ReadResult& result, bool is_last);
    bool answer_as_slave(PullQuery& query, storage::ReadResult& result, bool is_last);
    bool is_slave() const noexcept;
    /// Id of the broker that the reader should ask next.
    std::int64_t suggested(const PullQuery& query,
                           QueueOffset next,
                           const storage::ReadResult& result) const noexcept;
    void send_found(net::Connection& connection,
                    const PullQuery& query,
                    const storage::ReadResult& result);
    /// The loop's answer, with where to go on and what there is.
    const wire::PullMessageResponse& where(const PullQuery& query,
                                           QueueOffset next,
                                           const storage::ReadResult& result);
    void send_status(const PullQuery& query,
                     const storage::ReadResult& result,
                     wire::ResponseCode code);
    void send_moved(const PullQuery& query, storage::ReadResult& result);
    void send_lost(const PullQuery& query, const storage::ReadResult& result);
    void read_cold(const PullQuery& query);
    Result<storage::ReadResult> sift(const PullQuery& query, storage::ReadResult found) const;
    void answer_cold(PullQuery& query, Result<storage::ReadResult>& result);
    storage::ReadRequest request_of(const PullQuery& query) const;
    LoopState& loop_of(const PullQuery& query) const;

    Context& context_;
};

}  // namespace gantry::broker
