// SPDX-License-Identifier: Apache-2.0
// The part of AdminClient that limits rates.
#include "client/admin/admin_state.h"
#include "client/admin_client.h"
#include "protocol/wire/flow.pb.h"
#include "protocol/wire/header.h"

#include <array>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::array<std::string_view, 4> kScopes = {"broker", "client", "topic", "group"};

FlowLimit limit_of(const wire::FlowLimit& from, const std::string& broker, bool is_default) {
    FlowLimit limit;
    for (std::size_t i = 0; i < kScopes.size(); ++i) {
        if (from.scope() == kScopes[i]) {
            limit.scope = static_cast<FlowLimit::Scope>(i);
        }
    }
    limit.name = from.name();
    limit.send_messages = from.sendmessages();
    limit.send_bytes = from.sendbytes();
    limit.deliver_messages = from.delivermessages();
    limit.deliver_bytes = from.deliverbytes();
    limit.broker = broker;
    limit.is_default = is_default;
    return limit;
}

Status put_on_all(AdminCalls& calls, const wire::FlowLimit& limit) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, calls.brokers());
    std::string body;
    wire::append_body(body, wire::Codec::kNative, limit);
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id == 0) {
            GANTRY_TRY(
                calls.ask_status(broker.address, wire::RequestCode::kSetFlowLimit, nullptr, body));
        }
    }
    return ok();
}

}  // namespace

Result<std::vector<FlowLimit>> AdminClient::list_flow_limits() {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    std::vector<FlowLimit> limits;
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id != 0) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const wire::FlowLimitList list,
                                state_->calls.ask_body<wire::FlowLimitList>(
                                    broker.address, wire::RequestCode::kListFlowLimits));
        for (const wire::FlowLimit& limit : list.defaults()) {
            limits.push_back(limit_of(limit, broker.broker, true));
        }
        for (const wire::FlowLimit& limit : list.limits()) {
            limits.push_back(limit_of(limit, broker.broker, false));
        }
    }
    return limits;
}

Status AdminClient::set_flow_limit(const FlowLimit& limit) {
    wire::FlowLimit body;
    body.set_scope(std::string(kScopes[static_cast<std::size_t>(limit.scope)]));
    body.set_name(limit.name);
    body.set_sendmessages(limit.send_messages);
    body.set_sendbytes(limit.send_bytes);
    body.set_delivermessages(limit.deliver_messages);
    body.set_deliverbytes(limit.deliver_bytes);
    return put_on_all(state_->calls, body);
}

Status AdminClient::remove_flow_limit(FlowLimit::Scope scope, std::string_view name) {
    wire::FlowLimit body;
    body.set_scope(std::string(kScopes[static_cast<std::size_t>(scope)]));
    body.set_name(std::string(name));
    body.set_removed(true);
    return put_on_all(state_->calls, body);
}

}  // namespace gantry::client
