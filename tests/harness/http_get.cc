// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/http_get.h"

#include "tests/harness/raw_connection.h"

#include <cstdio>
#include <cstdlib>

namespace gantry::harness {

Result<HttpAnswer> http_get(std::uint16_t port, const std::string& path) {
    GANTRY_ASSIGN_OR_RETURN(RawConnection connection, RawConnection::open(port));
    GANTRY_TRY(connection.send("GET " + path +
                               " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
    GANTRY_ASSIGN_OR_RETURN(const std::string answer, connection.receive_rest());
    HttpAnswer parsed;
    const std::size_t head = answer.find("\r\n\r\n");
    if (head == std::string::npos ||
        std::sscanf(answer.c_str(), "HTTP/1.%*d %d", &parsed.status) != 1) {
        return Error{Errc::kCorrupt, "no HTTP answer: " + answer.substr(0, 200)};
    }
    parsed.body = answer.substr(head + 4);
    return parsed;
}

Result<double> metric(std::uint16_t http_port, const std::string& name) {
    GANTRY_ASSIGN_OR_RETURN(const HttpAnswer answer, http_get(http_port, "/metrics"));
    const std::string text = "\n" + answer.body;
    const std::size_t at = text.find("\n" + name + " ");
    if (at == std::string::npos) {
        return Error{Errc::kNotFound, "no metric " + name};
    }
    return std::strtod(text.c_str() + at + name.size() + 2, nullptr);
}

}  // namespace gantry::harness
