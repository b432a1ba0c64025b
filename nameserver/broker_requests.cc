// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"
#include "nameserver/request_handler.h"
#include "protocol/wire/header.h"
#include "protocol/wire/register_body.h"

#include <utility>

namespace gantry::nameserver {
namespace {

constexpr Logger kLog("nameserver");

}  // namespace

bool RequestHandler::handle_brokers(const net::Received& frame) {
    switch (frame.header.request()) {
        case wire::RequestCode::kRegisterBroker:
            register_broker(frame);
            break;
        case wire::RequestCode::kRegisterBrokerDelta:
            if (frame.header.codec != wire::Codec::kNative) {
                return false;
            }
            register_delta(frame);
            break;
        case wire::RequestCode::kBrokerHeartbeat:
            heartbeat(frame);
            break;
        case wire::RequestCode::kQueryDataVersion:
            query_data_version(frame);
            break;
        case wire::RequestCode::kUnregisterBroker:
            unregister_broker(frame);
            break;
        default:
            return false;
    }
    broker_requests_.add();
    return true;
}

void RequestHandler::refuse_registration(const net::Received& frame,
                                         const wire::RegisterBrokerRequest& request,
                                         const Error& why) {
    refused_registrations_.add();
    kLog.warn("registration_refused",
              {{"peer", frame.connection.peer()},
               {"broker", request.brokername().substr(0, 255)},
               {"address", request.brokeraddr().substr(0, 255)},
               {"error", why}});
    refuse(frame, why);
}

void RequestHandler::register_broker(const net::Received& frame) {
    wire::RegisterBrokerRequest request;
    if (!read(frame, request)) {
        refused_registrations_.add();
        return;
    }
    wire::RegisterBrokerBody body;
    const auto crc = static_cast<std::uint32_t>(request.bodycrc32());
    if (const Status decoded =
            wire::decode_register_body(frame.header.codec, frame.body, crc, body);
        !decoded) {
        refuse_registration(frame, request, decoded.error());
        return;
    }
    // Without a body the registration is only renewed.
    const wire::TopicConfigTable* const topics =
        frame.body.empty() ? nullptr : &body.topicconfigserializewrapper();
    const Result<wire::RegisterBrokerResponse> response = routes_.register_broker(
        {request, topics, frame.header.codec == wire::Codec::kNative, frame.connection.id()});
    if (!response) {
        refuse_registration(frame, request, response.error());
        return;
    }
    // Stock brokers take the order configuration of topics from the answer.
    wire::KvTable order;
    if (const KvStore::Table* const entries = kv_.list(kOrderNamespace)) {
        order.mutable_table()->insert(entries->begin(), entries->end());
    }
    const net::ReplyTo to = net::reply_to(frame);
    std::string bytes;
    wire::append_body(bytes, to.codec, order);
    frame.connection.reply(to, wire::ResponseCode::kSuccess, "", &*response, bytes);
}

void RequestHandler::register_delta(const net::Received& frame) {
    wire::RegisterBrokerRequest request;
    wire::RegisterBrokerDelta delta;
    if (!read(frame, request)) {
        refused_registrations_.add();
        return;
    }
    Status applied = wire::decode_body(frame.header.codec, frame.body, delta);
    if (applied) {
        applied = routes_.apply_delta(request, delta, frame.connection.id());
    }
    if (!applied) {
        refuse_registration(frame, request, applied.error());
        return;
    }
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "");
}

void RequestHandler::heartbeat(const net::Received& frame) {
    wire::BrokerIdentity broker;
    if (!read(frame, broker)) {
        return;
    }
    const Status heard = routes_.heartbeat(broker, frame.connection.id());
    // Its own code: the broker registers again on it, and on nothing else.
    frame.connection.reply(
        net::reply_to(frame),
        heard ? wire::ResponseCode::kSuccess : wire::ResponseCode::kQueryNotFound,
        heard ? std::string_view() : std::string_view(heard.error().detail));
}

void RequestHandler::query_data_version(const net::Received& frame) {
    wire::BrokerIdentity broker;
    if (!read(frame, broker)) {
        return;
    }
    wire::DataVersion asked;
    if (!frame.body.empty()) {
        if (const Status parsed = wire::decode_body(frame.header.codec, frame.body, asked);
            !parsed) {
            refuse(frame, parsed.error());
            return;
        }
    }
    const std::optional<wire::DataVersion> held =
        routes_.data_version(broker, frame.connection.id());
    wire::QueryDataVersionResponse response;
    response.set_changed(!held || !same_version(*held, asked));
    const net::ReplyTo to = net::reply_to(frame);
    std::string body;
    if (held) {
        wire::append_body(body, to.codec, *held);
    }
    frame.connection.reply(to, wire::ResponseCode::kSuccess, "", &response, body);
}

void RequestHandler::unregister_broker(const net::Received& frame) {
    wire::BrokerIdentity broker;
    if (!read(frame, broker)) {
        return;
    }
    routes_.unregister_broker(broker);
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "");
}

}  // namespace gantry::nameserver
