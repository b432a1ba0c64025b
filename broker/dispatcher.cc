// SPDX-License-Identifier: Apache-2.0
#include "broker/dispatcher.h"

#include <string>

namespace gantry::broker {

void Dispatcher::dispatch(Call& call) {
    call.context.counters.requests.add();
    const auto at = handlers_.find(call.header().code);
    if (at == handlers_.end()) {
        call.fail(wire::ResponseCode::kRequestCodeNotSupported,
                  " request type " + std::to_string(call.header().code) + " not supported");
        return;
    }
    if (at->second.is_for_master && !call.context.replica->takes_writes()) {
        refuse_not_master(call);
        return;
    }
    at->second.handle(call);
}

}  // namespace gantry::broker
