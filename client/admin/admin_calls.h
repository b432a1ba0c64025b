// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin_client.h"
#include "client/core/awaited.h"
#include "client/core/loop_slot.h"
#include "client/core/nameservers.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "common/result.h"
#include "protocol/wire/nameserver.pb.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::client {

/// The requests behind AdminClient: each waits for its answer, at most `timeout`.
///
/// Threads   any but a loop's.
class AdminCalls {
public:
    AdminCalls(Runtime& runtime, std::chrono::milliseconds timeout)
        : runtime_(runtime), timeout_(timeout) {}

    Runtime& runtime() noexcept { return runtime_; }

    std::chrono::milliseconds timeout() const noexcept { return timeout_; }

    /// Asks any nameserver; `Body` out of the answer's body.
    template <class Body>
    Result<Body> ask_nameserver(wire::RequestCode code,
                                std::shared_ptr<const google::protobuf::Message> fields) {
        GANTRY_TRY(check_known(code));
        return wait_for<Result<Body>>([&](auto done) {
            auto shared = std::make_shared<decltype(done)>(std::move(done));
            runtime_.control().run_and_wait([&] {
                runtime_.nameservers().ask(
                    Question{code, std::move(fields), {}},
                    timeout_,
                    std::chrono::milliseconds{0},
                    [shared](Result<net::Received>& result, const std::string& address) {
                        (*shared)(body_of<Body>(result, address));
                    });
            });
        });
    }

    /// Asks one server and hands the answer to `read`, in a loop thread.
    template <class Answer>
    Result<Answer> ask(const std::string& address,
                       wire::RequestCode code,
                       const google::protobuf::Message* fields,
                       std::function<Result<Answer>(Result<net::Received>&)> read,
                       std::string_view body = {}) {
        GANTRY_TRY(check_known(code));
        return wait_for<Result<Answer>>([&](auto done) {
            auto shared = std::make_shared<decltype(done)>(std::move(done));
            runtime_.control().run_and_wait([&] {
                runtime_.control().channel(address).call(
                    {code, fields, std::string(body)},
                    timeout_,
                    [shared, read](Result<net::Received>& r) { (*shared)(read(r)); });
            });
        });
    }

    /// `Body` out of one server's answer.
    template <class Body>
    Result<Body> ask_body(const std::string& address,
                          wire::RequestCode code,
                          const google::protobuf::Message* fields = nullptr) {
        return ask<Body>(address, code, fields, [address](Result<net::Received>& result) {
            return body_of<Body>(result, address);
        });
    }

    /// Whether one server did what it was asked.
    Status ask_status(const std::string& address,
                      wire::RequestCode code,
                      const google::protobuf::Message* fields,
                      std::string_view body = {}) {
        return ask<Done>(
            address,
            code,
            fields,
            [address](Result<net::Received>& result) {
                return result ? check_response(*result, address) : Status(result.error());
            },
            body);
    }

    /// The topic's route, past the cache. kNotFound.
    Result<TopicRoute> route(std::string_view topic);

    /// Every broker the nameserver knows, masters before slaves.
    Result<std::vector<BrokerAddress>> brokers();

    /// Masters of one cluster; empty: of the only one. kRefused: there are several. kNotFound.
    Result<std::vector<BrokerAddress>> masters(std::string_view cluster);

private:
    /// kUnsupported: a request of Gantry's own, in RocketMQ's dialect.
    Status check_known(wire::RequestCode code) const;

    Runtime& runtime_;
    const std::chrono::milliseconds timeout_;
};

}  // namespace gantry::client
