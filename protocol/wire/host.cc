// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/record.h"

#include <arpa/inet.h>
#include <charconv>

namespace gantry::wire {
namespace {

Error bad_host(std::string_view text) {
    return Error{Errc::kRefused,
                 "host \"" + std::string(text.substr(0, 64)) +
                     "\" is neither a.b.c.d:port nor [v6 address]:port with a port of 0..65535"};
}

}  // namespace

Result<Host> parse_host(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return bad_host(text);
    }
    std::string_view address = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    Host host;
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc() || end != port.data() + port.size()) {
        return bad_host(text);
    }
    host.port = number;
    if (address.starts_with('[') && address.ends_with(']')) {
        host.is_v6 = true;
        address = address.substr(1, address.size() - 2);
    }
    const std::string terminated(address);
    if (::inet_pton(host.is_v6 ? AF_INET6 : AF_INET, terminated.c_str(), host.address.data()) !=
        1) {
        return bad_host(text);
    }
    return host;
}

std::string to_string(const Host& host) {
    char text[INET6_ADDRSTRLEN] = {};
    ::inet_ntop(host.is_v6 ? AF_INET6 : AF_INET, host.address.data(), text, sizeof(text));
    std::string shown = host.is_v6 ? '[' + std::string(text) + ']' : std::string(text);
    return shown + ':' + std::to_string(host.port);
}

}  // namespace gantry::wire
