// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/replica_handler.h"

#include "broker/dispatcher.h"
#include "common/mutex.h"

#include <utility>

namespace gantry::broker {

using wire::RequestCode;
using wire::ResponseCode;

/// Open as long as the loops' states live, which answers from other threads go to.
struct ReplicaHandler::Gate {
    Mutex mutex;
    bool is_open GANTRY_GUARDED_BY(mutex) = true;

    template <class Answer>
    void pass(LoopState& loop, Answer answer) {
        const MutexLock lock(mutex);
        if (is_open) {
            loop.post(std::move(answer));
        }
    }
};

ReplicaHandler::ReplicaHandler(Context& context)
    : context_(context), gate_(std::make_shared<Gate>()) {}

ReplicaHandler::~ReplicaHandler() {
    close();
}

void ReplicaHandler::close() {
    const MutexLock lock(gate_->mutex);
    gate_->is_open = false;
}

void ReplicaHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kReplicaStatus, *this, &ReplicaHandler::status);
    dispatcher.add(RequestCode::kPromote, *this, &ReplicaHandler::promote);
}

void ReplicaHandler::status(Call& call, const wire::ReplicaStatusRequest& request) {
    if (!request.group().empty() && request.group() != context_.options.name) {
        call.fail({Errc::kRefused,
                   "this is broker " + context_.options.name + ", not " + request.group()});
        return;
    }
    context_.replica->status([gate = gate_, &loop = call.loop, to = call.addressee()](
                                 const wire::ReplicaStatus& status) {
        gate->pass(loop,
                   [&loop, to, status] { loop.reply(to, ResponseCode::kSuccess, {}, &status); });
    });
}

void ReplicaHandler::promote(Call& call, const wire::PromoteRequest& request) {
    context_.replica->promote(request,
                              [gate = gate_, &loop = call.loop, to = call.addressee()](
                                  const Result<wire::PromoteResponse>& promoted) {
                                  gate->pass(loop, [&loop, to, promoted] {
                                      if (promoted) {
                                          loop.reply(to, ResponseCode::kSuccess, {}, &*promoted);
                                      } else {
                                          loop.fail(to, promoted.error());
                                      }
                                  });
                              });
}

}  // namespace gantry::broker
