// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <string>

namespace gantry::harness {

/// Status and body of an HTTP answer.
struct HttpAnswer {
    int status = 0;
    std::string body;
};

/// GET http://127.0.0.1:port/path, within 10 s.
Result<HttpAnswer> http_get(std::uint16_t port, const std::string& path);

/// The value of one metric at /metrics; kNotFound when it is not shown.
Result<double> metric(std::uint16_t http_port, const std::string& name);

}  // namespace gantry::harness
