// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/replica_handler.h"

#include "broker/dispatcher.h"
#include "common/mutex.h"
#include "protocol/wire/header.h"
#include "storage/store.h"

#include <string>
#include <utility>

namespace gantry::broker {

using wire::RequestCode;
using wire::ResponseCode;

namespace {

wire::HaRuntimeInfo ha_runtime_info(const wire::ReplicaStatus& status) {
    wire::HaRuntimeInfo info;
    info.set_master(status.ismaster());
    wire::HaRuntimeInfo::Source& source = *info.mutable_haclientruntimeinfo();
    if (!status.ismaster()) {
        if (!status.masteraddress().empty()) {
            source.set_masteraddr(status.masteraddress());
        }
        source.set_lastreadtimestamp(status.source().heardat());
        source.set_lastwritetimestamp(status.source().saidat());
        source.set_masterflushoffset(status.source().masterconfirmed());
        source.set_maxoffset(status.logend());
        source.set_transferredbyteinsecond(status.source().bytespersecond());
        return info;
    }
    info.set_mastercommitlogmaxoffset(status.logend());
    for (const wire::ReplicaLink& link : status.links()) {
        wire::HaRuntimeInfo::Slave& slave = *info.add_haconnectioninfo();
        slave.set_addr(link.address());
        slave.set_diff(link.behindbytes());
        slave.set_insync(link.isinsync());
        slave.set_slaveackoffset(link.acknowledged());
        slave.set_transferfromwhere(link.sent());
        slave.set_transferredbyteinsecond(link.bytespersecond());
        info.set_insyncslavenums(info.insyncslavenums() + (link.isinsync() ? 1 : 0));
    }
    return info;
}

}  // namespace

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
    dispatcher.add(RequestCode::kGetBrokerHaStatus, *this, &ReplicaHandler::ha_status);
}

/// What a broker without replication says of itself lacks its log.
void ReplicaHandler::ask(std::function<void(const wire::ReplicaStatus&)> done) {
    const bool is_alone = context_.replica->role() == ReplicaRole::kAlone;
    context_.replica->status(
        [is_alone, store = context_.store, done = std::move(done)](wire::ReplicaStatus status) {
            if (is_alone) {
                const storage::Watermarks marks = store->watermarks();
                status.set_logfirst(marks.first.value);
                status.set_logend(marks.appended.value);
                status.set_confirmed(marks.confirmed.value);
            }
            done(status);
        });
}

void ReplicaHandler::status(Call& call, const wire::ReplicaStatusRequest& request) {
    if (!request.group().empty() && request.group() != context_.options.name) {
        call.fail({Errc::kRefused,
                   "this is broker " + context_.options.name + ", not " + request.group()});
        return;
    }
    ask([gate = gate_, &loop = call.loop, to = call.addressee()](
            const wire::ReplicaStatus& status) {
        gate->pass(loop,
                   [&loop, to, status] { loop.reply(to, ResponseCode::kSuccess, {}, &status); });
    });
}

void ReplicaHandler::ha_status(Call& call) {
    ask([gate = gate_, &loop = call.loop, to = call.addressee()](
            const wire::ReplicaStatus& status) {
        gate->pass(loop, [&loop, to, info = ha_runtime_info(status)] {
            std::string body;
            wire::append_body(body, to.to.codec, info);
            loop.reply(to, ResponseCode::kSuccess, {}, nullptr, body);
        });
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
