// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/message.pb.h"

namespace gantry::broker {

class Dispatcher;

/// Takes a producer's word on its transactions (37), lists those without one (10030), and takes up
/// those that were given up (323). The half messages come in by the send handler.
///
///   commitOrRollback   8 commit, 12 rollback; 0 unknown: the producer is asked later
///
/// Repeating what was done is success, also after a restart; the opposite is kConflict.
///
/// Threads   any loop; what is not in memory is read in the pool.
/// Errors    refused (1 for stock peers): group or queue offset are not the half message's. 22: no
///           half message there. kUnknownOutcome: it ended, and its message has no UNIQ_KEY to say
///           how. 14 (kServiceNotAvailable): the topic of a commit is gone; it stays open.
class TransactionHandler {
public:
    explicit TransactionHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    using Request = wire::EndTransactionRequest;

    void end(Call& call, const Request& request);
    void list(Call& call, const wire::ListTransactionsRequest& request);
    void resume(Call& call, const wire::ResumeCheckHalfMessageRequest& request);

    void finish(LoopState& loop,
                const Addressee& to,
                const Request& request,
                const Result<LogOffset>& end);
    void tell_outcome(LoopState& loop, const Addressee& to, const Request& request);
    void look_up_outcome(LoopState& loop,
                         const Addressee& to,
                         const Request& request,
                         LogOffset ended);

    Context& context_;
};

}  // namespace gantry::broker
