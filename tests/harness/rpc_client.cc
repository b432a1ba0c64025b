// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/rpc_client.h"

#include "common/check.h"

#include <google/protobuf/message.h>

namespace gantry::harness {
namespace {

void fill(const net::Received& received, Answer& answer) {
    const wire::Header& header = received.header;
    answer.codec = header.codec;
    answer.code = header.response();
    answer.remark = header.remark;
    answer.body = as_text(received.body);
    answer.native_fields = as_text(header.fields);
    for (const wire::ExtField& field : header.ext) {
        answer.ext.emplace_back(field.name, field.value);
    }
}

Answer keep(const Result<net::Received>& received) {
    Answer answer;
    if (!received) {
        answer.transport = received.error();
        answer.code = static_cast<wire::ResponseCode>(-1);  // none of the protocol's
        return answer;
    }
    fill(*received, answer);
    return answer;
}

}  // namespace

std::string Answer::summary() const {
    if (!transport) {
        return to_string(transport.error());
    }
    const std::string number = std::to_string(static_cast<std::int32_t>(code));
    return remark.empty() ? number : number + " " + remark;
}

RpcClient::RpcClient(const std::string& address, wire::Codec codec) {
    options_.address = address;
    options_.codec = codec;
    options_.backoff_max = std::chrono::milliseconds(100);
    Result<std::unique_ptr<net::EventLoop>> loop = net::EventLoop::create({"test-client"});
    GANTRY_ASSERT(loop.has_value());
    loop_ = std::move(loop).value();
    channel_ = make_channel();
    loop_->start_thread();
}

std::unique_ptr<net::Channel> RpcClient::make_channel() {
    auto channel = std::make_unique<net::Channel>(*loop_, options_);
    channel->on_request([this](const net::Received& received) {
        const MutexLock lock(mutex_);
        fill(received, requests_.emplace_back());
        arrived_.notify_all();
    });
    return channel;
}

Answer RpcClient::next_request(std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    MutexLock lock(mutex_);
    while (requests_.empty()) {
        if (!lock.wait_until(arrived_, deadline) && requests_.empty()) {
            Answer none;
            none.transport = Error{Errc::kTimeout, "the peer has sent no request"};
            return none;
        }
    }
    Answer request = std::move(requests_.front());
    requests_.pop_front();
    return request;
}

RpcClient::~RpcClient() {
    std::promise<void> closed;
    const Status posted = loop_->post([this, &closed] {
        channel_.reset();
        closed.set_value();
    });
    if (posted) {
        closed.get_future().wait();
    }
    loop_->stop();
    loop_->join();
}

std::future<Answer> RpcClient::start(wire::RequestCode code,
                                     const google::protobuf::Message* fields,
                                     std::string body,
                                     std::chrono::milliseconds timeout) {
    std::shared_ptr<google::protobuf::Message> kept;
    if (fields != nullptr) {
        kept.reset(fields->New());
        kept->CopyFrom(*fields);
    }
    auto promise = std::make_shared<std::promise<Answer>>();
    std::future<Answer> future = promise->get_future();
    const Status posted =
        loop_->post([this, code, kept, promise, timeout, text = std::move(body)]() mutable {
            channel_->call(
                {code, kept.get(), std::move(text)},
                timeout,
                [promise](Result<net::Received>& received) { promise->set_value(keep(received)); });
        });
    GANTRY_ASSERT(posted.has_value());
    return future;
}

Answer RpcClient::call(wire::RequestCode code,
                       const google::protobuf::Message* fields,
                       std::string body) {
    return start(code, fields, std::move(body)).get();
}

Answer RpcClient::call_with_body(wire::RequestCode code,
                                 const google::protobuf::Message* fields,
                                 const google::protobuf::Message& body) {
    std::string bytes;
    wire::append_body(bytes, options_.codec, body);
    return call(code, fields, std::move(bytes));
}

void RpcClient::disconnect() {
    std::promise<void> closed;
    const Status posted = loop_->post([this, &closed] {
        channel_ = make_channel();
        closed.set_value();
    });
    GANTRY_ASSERT(posted.has_value());
    closed.get_future().wait();
}

}  // namespace gantry::harness
