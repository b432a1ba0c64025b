// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/socket.h"

#include "tests/harness/sockets/free_port.h"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <set>
#include <string>

using namespace gantry;
using namespace gantry::net;

namespace {

std::string congestion_control_of(int socket) {
    std::array<char, 16> name{};
    socklen_t length = name.size();
    ::getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(), &length);
    return name.data();
}

}  // namespace

TEST_SUITE("net/socket") {
    TEST_CASE("host and port are taken apart") {
        const Result<HostPort> name = split_host_port("broker-1.example:10911");
        REQUIRE(name);
        CHECK(name->host == "broker-1.example");
        CHECK(name->port == 10911);
        const Result<HostPort> v6 = split_host_port("[fd00::1]:9876");
        REQUIRE(v6);
        CHECK(v6->host == "fd00::1");
    }

    TEST_CASE("a text that is not host:port is refused and named") {
        for (const char* text : {"",
                                 "host",
                                 ":1",
                                 "host:",
                                 "host:65536",
                                 "host:-1",
                                 "host:1x",
                                 "fd00::1:80",
                                 "[]:1"}) {
            CAPTURE(text);
            const Result<HostPort> parsed = split_host_port(text);
            REQUIRE_FALSE(parsed);
            CHECK(parsed.error().code == Errc::kRefused);
            CHECK(parsed.error().detail.find(text) != std::string::npos);
        }
    }

    TEST_CASE("addresses keep their text and record form") {
        const Result<SocketAddress> v4 = numeric_address("10.1.2.3", 10911);
        REQUIRE(v4);
        CHECK(to_string(*v4) == "10.1.2.3:10911");
        CHECK(host_of(*v4).address[3] == 3);
        CHECK_FALSE(host_of(*v4).is_v6);
        const Result<SocketAddress> v6 = numeric_address("fd00::1", 80);
        REQUIRE(v6);
        CHECK(to_string(*v6) == "[fd00::1]:80");
        CHECK(host_of(*v6).is_v6);
        const Result<SocketAddress> mapped = numeric_address("::ffff:10.1.2.3", 80);
        REQUIRE(mapped);
        CHECK(to_string(*mapped) == "10.1.2.3:80");
        CHECK_FALSE(numeric_address("localhost", 80));
    }

    TEST_CASE("a port in use is kConflict and names address and port") {
        const Result<UniqueFd> first = listen_tcp("127.0.0.1", 0);
        REQUIRE(first);
        const auto port = static_cast<std::uint16_t>(host_of(local_address(first->get())).port);
        const Result<UniqueFd> second = listen_tcp("127.0.0.1", port);
        REQUIRE_FALSE(second);
        CHECK(second.error().code == Errc::kConflict);
        CHECK(second.error().detail.find("127.0.0.1:" + std::to_string(port)) != std::string::npos);
    }

    TEST_CASE("dialled sockets do not delay small writes") {
        const Result<UniqueFd> opened = open_tcp(*numeric_address("127.0.0.1", 1));
        REQUIRE(opened);
        int no_delay = 0;
        socklen_t length = sizeof no_delay;
        ::getsockopt(opened->get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &length);
        CHECK(no_delay != 0);
    }

    TEST_CASE("congestion control is cubic or reno on one machine, else the system's") {
        const Result<UniqueFd> listener = listen_tcp("127.0.0.1", 0);
        REQUIRE(listener);
        const SocketAddress at = local_address(listener->get());
        const Result<UniqueFd> socket = open_tcp(at);
        REQUIRE(socket);
        const std::string before = congestion_control_of(socket->get());
        prepare_congestion_control(socket->get());  // it is not connected
        CHECK(congestion_control_of(socket->get()) == before);
        ::connect(socket->get(), at.get(), at.length);
        prepare_congestion_control(socket->get());
        const std::string after = congestion_control_of(socket->get());
        CHECK((after == "cubic" || after == "reno"));
    }

    TEST_CASE("which connections stay on one machine") {
        const auto stays = [](const char* a, const char* b) {
            return is_one_machine(*numeric_address(a, 1), *numeric_address(b, 2));
        };
        CHECK(stays("127.0.0.1", "127.0.2.1"));
        CHECK(stays("10.0.0.1", "10.0.0.1"));
        CHECK(stays("::1", "::1"));
        CHECK(stays("10.0.0.1", "::ffff:10.0.0.1"));
        CHECK_FALSE(stays("10.0.0.1", "10.0.0.2"));
        CHECK_FALSE(stays("127.0.0.1", "10.0.0.1"));
        CHECK_FALSE(stays("fe80::1", "fe80::2"));
        CHECK_FALSE(stays("::1", "127.0.0.1"));
    }

    TEST_CASE("a test that asks for ports gets none that was given before") {
        // Of 22,000, 400 taken at random have two alike almost always.
        std::set<std::uint16_t> given;
        for (int i = 0; i < 400; ++i) {
            const Result<std::uint16_t> port = harness::free_port();
            REQUIRE(port);
            CHECK_MESSAGE(given.insert(*port).second, *port);
        }
    }
}
