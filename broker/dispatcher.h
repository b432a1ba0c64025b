// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "broker/replication/slave_rules.h"
#include "common/unique_function.h"
#include "protocol/wire/codes.h"
#include "protocol/wire/header.h"

#include <cstdint>
#include <unordered_map>
#include <utility>

namespace gantry::broker {

/// Request code to handler. Handlers that take typed fields get them decoded; a request whose
/// fields do not decode never reaches its handler. Nor does one that changes something while this
/// broker is not the master: it is refused.
///
/// Threads   add before the loops run; dispatch on any loop.
class Dispatcher {
public:
    using Handle = UniqueFunction<void(Call&)>;

    /// Replaces what was added for that code.
    void add(wire::RequestCode code, Handle handle) {
        const auto number = static_cast<std::int32_t>(code);
        handlers_.insert_or_assign(number, Entry{std::move(handle), !is_served_by_slaves(number)});
    }

    /// `method` is void (Handler::*)(Call&).
    template <class Handler>
    void add(wire::RequestCode code, Handler& handler, void (Handler::*method)(Call&)) {
        add(code, [&handler, method](Call& call) { (handler.*method)(call); });
    }

    /// `method` is void (Handler::*)(Call&, const Fields&).
    template <class Handler, class Fields>
    void add(wire::RequestCode code,
             Handler& handler,
             void (Handler::*method)(Call&, const Fields&)) {
        add(code, [&handler, method](Call& call) {
            Fields fields;
            if (const Status decoded = wire::decode_fields(call.header(), fields); !decoded) {
                call.fail(decoded.error(), wire::ResponseCode::kSystemError);
                return;
            }
            (handler.*method)(call, fields);
        });
    }

    /// Answers kRequestCodeNotSupported for a code nobody handles.
    void dispatch(Call& call);

private:
    struct Entry {
        Handle handle;
        bool is_for_master = false;
    };

    std::unordered_map<std::int32_t, Entry> handlers_;
};

}  // namespace gantry::broker
