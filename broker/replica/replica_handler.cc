// SPDX-License-Identifier: Apache-2.0
#include "broker/replica/replica_handler.h"

#include "broker/replication/replica_info.h"
#include "common/mutex.h"

#include <string>
#include <utility>

namespace gantry::broker {

using wire::RequestCode;
using wire::ResponseCode;

/// Keeps answers from loops that are gone: questions live longer than a serving layer.
struct ReplicaHandler::Gate {
    void post(LoopState& loop, net::Task answer) {
        const MutexLock lock(mutex);
        if (is_open) {
            loop.post(std::move(answer));
        }
    }

    Mutex mutex;
    bool is_open GANTRY_GUARDED_BY(mutex) = true;
};

ReplicaHandler::ReplicaHandler(Context& context)
    : context_(context), gate_(std::make_shared<Gate>()) {}

void ReplicaHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kReplicaStatus, *this, &ReplicaHandler::status);
    dispatcher.add(RequestCode::kPromote, *this, &ReplicaHandler::promote);
}

void ReplicaHandler::close() {
    const MutexLock lock(gate_->mutex);
    gate_->is_open = false;
}

void ReplicaHandler::status(Call& call) {
    context_.replica->status([gate = gate_, &loop = call.loop, to = call.addressee()](
                                 const wire::ReplicaStatus& status) {
        std::string body;
        wire::append_body(body, to.to.codec, status);
        gate->post(loop, [&loop, to, body = std::move(body)] {
            loop.reply(to, ResponseCode::kSuccess, {}, nullptr, body);
        });
    });
}

void ReplicaHandler::promote(Call& call, const wire::PromoteRequest& request) {
    context_.replica->promote(
        request,
        [gate = gate_, &loop = call.loop, to = call.addressee()](
            const Result<wire::PromoteResponse>& outcome) {
            gate->post(loop, [&loop, to, outcome] {
                if (outcome) {
                    loop.reply(to, ResponseCode::kSuccess, {}, &outcome.value());
                } else {
                    loop.fail(to, outcome.error());
                }
            });
        });
}

}  // namespace gantry::broker
