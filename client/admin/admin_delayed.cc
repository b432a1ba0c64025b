// SPDX-License-Identifier: Apache-2.0
// The part of AdminClient that looks at delayed messages.
#include "client/admin/admin_state.h"
#include "client/admin_client.h"
#include "protocol/wire/delay/recall_handle.h"
#include "protocol/wire/message.pb.h"

#include <algorithm>
#include <utility>

namespace gantry::client {

Result<std::vector<DelayedMessage>> AdminClient::list_delayed(const DelayedQuery& query) {
    constexpr std::uint32_t kPage = 500;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    std::vector<DelayedMessage> all;
    for (const BrokerAddress& broker : brokers) {
        wire::ListDelayedRequest request;
        request.set_topic(query.topic);
        request.set_duefrom(query.due_from_ms);
        request.set_dueuntil(query.due_until_ms);
        std::uint32_t left = broker.broker_id == 0 ? query.count_max : 0;
        while (left > 0) {
            request.set_count(std::min(left, kPage));
            GANTRY_ASSIGN_OR_RETURN(const wire::DelayedList list,
                                    state_->calls.ask_body<wire::DelayedList>(
                                        broker.address, wire::RequestCode::kListDelayed, &request));
            for (const wire::DelayedList::Delayed& one : list.messages()) {
                all.push_back({broker.broker,
                               one.messageid(),
                               one.topic(),
                               one.queueid(),
                               one.duetime(),
                               one.storetime(),
                               one.recallhandle()});
            }
            left -= std::min(left, static_cast<std::uint32_t>(list.messages_size()));
            left = list.next() < 0 ? 0 : left;
            request.set_from(list.next());
        }
    }
    return all;
}

Status AdminClient::cancel_delayed(std::string_view recall_handle) {
    GANTRY_ASSIGN_OR_RETURN(const wire::RecallHandle handle,
                            wire::parse_recall_handle(recall_handle));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    const auto master = std::find_if(brokers.begin(), brokers.end(), [&](const auto& broker) {
        return broker.broker == handle.broker && broker.broker_id == 0;
    });
    if (master == brokers.end()) {
        return Error{Errc::kNotFound, "broker " + handle.broker + " is not registered"};
    }
    wire::RecallMessageRequest request;
    request.set_topic(handle.topic);
    request.set_recallhandle(std::string(recall_handle));
    return state_->calls.ask_status(master->address, wire::RequestCode::kRecallMessage, &request);
}

}  // namespace gantry::client
