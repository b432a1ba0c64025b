// SPDX-License-Identifier: Apache-2.0
#include "client/consume/selector_check.h"

#include "client/core/awaited.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/properties.h"

#include <chrono>
#include <memory>
#include <set>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::chrono::milliseconds kLimit{3'000};

bool is_sql(const MessageSelector& selector) noexcept {
    return selector.kind() == MessageSelector::Kind::kSql;
}

Status ask(LoopSlot& slot, const std::string& address, const std::string& body) {
    return wait_for<Status>([&](auto done) {
        auto shared = std::make_shared<decltype(done)>(std::move(done));
        const bool posted = slot.post([&slot, address, body, shared] {
            slot.channel(address).call(
                {wire::RequestCode::kCheckClientConfig, nullptr, body},
                kLimit,
                [address, shared](Result<net::Received>& result) {
                    (*shared)(result ? check_response(*result, address) : Status(result.error()));
                });
        });
        if (!posted) {
            (*shared)(Error{Errc::kBusy, "the client's loop takes no more work"});
        }
    });
}

}  // namespace

std::string_view type_of(const MessageSelector& selector) noexcept {
    return is_sql(selector) ? "SQL92" : "TAG";
}

Result<Subscription> make_subscription(const MessageSelector& selector) {
    Subscription subscription{selector, {}};
    if (!is_sql(selector)) {
        GANTRY_ASSIGN_OR_RETURN(subscription.filter, TagFilter::parse(selector.expression()));
    }
    return subscription;
}

void describe(const MessageSelector& selector, wire::SubscriptionData& into) {
    into.set_substring(selector.expression());
    into.set_expressiontype(std::string(type_of(selector)));
    into.set_classfiltermode(false);
    if (is_sql(selector)) {
        return;
    }
    if (const Result<TagFilter> filter = TagFilter::parse(selector.expression())) {
        for (const std::string& tag : filter->tags()) {
            into.add_tagsset(tag);
            into.add_codeset(static_cast<std::int32_t>(wire::tag_hash(tag)));
        }
    }
}

Status check_selector(Runtime& runtime,
                      LoopSlot& slot,
                      const std::string& topic,
                      const MessageSelector& selector) {
    if (!is_sql(selector)) {
        return ok();
    }
    const Result<RoutePtr> route = runtime.routes().wait_for(topic);
    if (!route) {
        return ok();
    }
    wire::CheckClientRequestBody question;
    wire::SubscriptionData& data = *question.mutable_subscriptiondata();
    data.set_topic(topic);
    describe(selector, data);
    std::string body;
    wire::append_body(body, slot.codec(), question);
    std::set<std::string> brokers;
    for (const QueueId& queue : (*route)->read_queues) {
        brokers.insert(queue.broker);
    }
    for (const std::string& broker : brokers) {
        const std::string address = runtime.routes().address_of(broker);
        const Status answer = address.empty() ? ok() : ask(slot, address, body);
        if (!answer &&
            (answer.error().code == Errc::kRefused || answer.error().code == Errc::kUnsupported)) {
            return answer;
        }
    }
    return ok();
}

}  // namespace gantry::client
