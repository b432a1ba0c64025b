// SPDX-License-Identifier: Apache-2.0
#include "broker/address.h"

#include <arpa/inet.h>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

namespace gantry::broker {

namespace {

/// Text of the first IPv4 address of an interface that is up and not loopback.
std::string first_interface_address() {
    ifaddrs* found = nullptr;
    if (::getifaddrs(&found) != 0) {
        return "127.0.0.1";
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(found, &::freeifaddrs);
    for (const ifaddrs* at = found; at != nullptr; at = at->ifa_next) {
        const bool is_usable = at->ifa_addr != nullptr && at->ifa_addr->sa_family == AF_INET &&
                               (at->ifa_flags & IFF_UP) != 0 && (at->ifa_flags & IFF_LOOPBACK) == 0;
        if (!is_usable) {
            continue;
        }
        sockaddr_in address{};
        std::memcpy(&address, at->ifa_addr, sizeof address);
        char text[INET_ADDRSTRLEN] = {};
        if (::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text) != nullptr) {
            return text;
        }
    }
    return "127.0.0.1";
}

std::string join(const std::string& host, std::uint16_t port) {
    const bool is_v6 = host.find(':') != std::string::npos && host.front() != '[';
    return (is_v6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

Result<std::string> resolve(const std::string& name) {
    addrinfo hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(name.c_str(), nullptr, &hints, &found); code != 0) {
        return Error{Errc::kRefused,
                     "broker.advertise_host '" + name + "': " + ::gai_strerror(code)};
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, &::freeaddrinfo);
    sockaddr_in address{};
    std::memcpy(&address, found->ai_addr, sizeof address);
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    return std::string(text);
}

}  // namespace

Result<Address> choose_address(const std::string& advertised,
                               const std::string& listened,
                               std::uint16_t port) {
    std::string host = advertised;
    if (host.empty()) {
        const bool is_wildcard = listened.empty() || listened == "0.0.0.0" || listened == "::";
        host = is_wildcard ? first_interface_address() : listened;
    }
    Address address;
    address.text = join(host, port);
    if (const auto parsed = wire::parse_host(address.text)) {
        address.host = *parsed;
        return address;
    }
    GANTRY_ASSIGN_OR_RETURN(const std::string number, resolve(host));
    GANTRY_ASSIGN_OR_RETURN(address.host, wire::parse_host(join(number, port)));
    return address;
}

}  // namespace gantry::broker
