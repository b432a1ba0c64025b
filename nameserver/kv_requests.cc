// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"
#include "nameserver/request_handler.h"
#include "protocol/wire/header.h"

#include <utility>

namespace gantry::nameserver {
namespace {

constexpr Logger kLog("nameserver");

}  // namespace

bool RequestHandler::handle_kv(const net::Received& frame) {
    switch (frame.header.request()) {
        case wire::RequestCode::kPutKvConfig:
            put_kv(frame);
            break;
        case wire::RequestCode::kGetKvConfig:
            get_kv(frame);
            break;
        case wire::RequestCode::kDeleteKvConfig:
            delete_kv(frame);
            break;
        case wire::RequestCode::kGetKvListByNamespace:
            list_kv(frame);
            break;
        default:
            return false;
    }
    kv_requests_.add();
    return true;
}

void RequestHandler::put_kv(const net::Received& frame) {
    wire::KvRequest request;
    if (!read(frame, request)) {
        return;
    }
    if (!request.has_value()) {
        refuse(frame, Error{Errc::kRefused, "the custom field <value> is null"});
        return;
    }
    if (const Status put = kv_.put(request.namespace_(), request.key(), request.value()); !put) {
        refuse(frame, put.error());
        return;
    }
    kv_changed(frame, request);
}

void RequestHandler::delete_kv(const net::Received& frame) {
    wire::KvRequest request;
    if (!read(frame, request)) {
        return;
    }
    if (!kv_.remove(request.namespace_(), request.key())) {
        frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "");
        return;
    }
    kv_changed(frame, request);
}

/// Answers at once when entries live in memory only, else when the file has the change.
void RequestHandler::kv_changed(const net::Received& frame, const wire::KvRequest& request) {
    if (request.namespace_() == kOrderNamespace) {
        routes_.touch(request.key());
    }
    if (kv_file_ == nullptr) {
        frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "");
        return;
    }
    kv_waiting_.push_back(net::reply_to(frame));
}

void RequestHandler::get_kv(const net::Received& frame) {
    wire::KvRequest request;
    if (!read(frame, request)) {
        return;
    }
    const std::string* const value = kv_.get(request.namespace_(), request.key());
    if (value == nullptr) {
        frame.connection.reply(net::reply_to(frame),
                               wire::ResponseCode::kQueryNotFound,
                               "No config item, Namespace: " + request.namespace_().substr(0, 255) +
                                   " Key: " + request.key().substr(0, 255));
        return;
    }
    wire::KvValueResponse response;
    response.set_value(*value);
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "", &response);
}

void RequestHandler::list_kv(const net::Received& frame) {
    wire::NamespaceRequest request;
    if (!read(frame, request)) {
        return;
    }
    const KvStore::Table* const entries = kv_.list(request.namespace_());
    if (entries == nullptr) {
        frame.connection.reply(net::reply_to(frame),
                               wire::ResponseCode::kQueryNotFound,
                               "No config item, Namespace: " + request.namespace_().substr(0, 255));
        return;
    }
    wire::KvTable table;
    table.mutable_table()->insert(entries->begin(), entries->end());
    reply_body(frame, table);
}

/// Hands the store to the file's thread when that is idle; changes made meanwhile go out together.
void RequestHandler::save_kv() {
    if (is_kv_writing_ || kv_waiting_.empty()) {
        return;
    }
    is_kv_writing_ = true;
    kv_writing_ = std::exchange(kv_waiting_, {});
    kv_file_->write(kv_.dump(), [this](Status saved) {
        // Refused only when the loop has stopped: then nobody waits for the answer.
        static_cast<void>(loop_.post([this, result = std::move(saved)] { kv_saved(result); }));
    });
}

void RequestHandler::kv_saved(const Status& saved) {
    is_kv_writing_ = false;
    if (!saved) {
        kLog.error("kv_save_failed",
                   {{"file", kv_file_->path().string()}, {"error", saved.error()}});
    }
    for (const net::ReplyTo& to : std::exchange(kv_writing_, {})) {
        const auto connection = connections_.find(to.connection);
        if (connection != connections_.end()) {
            connection->second->reply(
                to,
                saved ? wire::ResponseCode::kSuccess : wire::ResponseCode::kSystemError,
                saved ? std::string_view() : std::string_view(saved.error().detail));
        }
    }
    settle();
}

}  // namespace gantry::nameserver
