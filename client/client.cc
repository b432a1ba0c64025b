// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include "client/core/runtime.h"

#include <utility>

namespace gantry::client {

std::string_view name_of(Dialect dialect) noexcept {
    switch (dialect) {
        case Dialect::kRocketMq:
            return "rocketmq";
        case Dialect::kDetect:
            return "detect";
        case Dialect::kGantry:
            break;
    }
    return "gantry";
}

Client::Client(std::unique_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}

Client::~Client() = default;

Result<std::shared_ptr<Client>> Client::start(const Options& options) {
    GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<Runtime> runtime, Runtime::start(options));
    return std::shared_ptr<Client>(new Client(std::move(runtime)));
}

const std::string& Client::client_id() const noexcept {
    return runtime_->client_id();
}

Dialect Client::dialect() const noexcept {
    return runtime_->dialect();
}

MetricRegistry& Client::metrics() noexcept {
    return runtime_->metrics();
}

}  // namespace gantry::client
