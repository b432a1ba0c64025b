// SPDX-License-Identifier: Apache-2.0
// Lines between plain processes that are cut and healed.
#include "tests/chaos/world/network.h"

#include "tests/chaos/world/daemon.h"
#include "tests/harness/faults/not_run.h"
#include "tests/harness/programs.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::chaos {
namespace {

using std::chrono::milliseconds;

constexpr std::uint16_t kPort = 7007;

/// Answers every byte with itself.
constexpr const char* kEcho = R"(
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print('READY port=1 http=1', flush=True)
while True:
    peer, _ = server.accept()
    while data := peer.recv(99):
        peer.sendall(data)
)";

/// Sends bytes one at a time, and prints each that comes back.
constexpr const char* kAsk = R"(
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while True:
    peer.sendall(b'x')
    print(peer.recv(1), flush=True)
)";

/// Prints the datagrams that come.
constexpr const char* kHear = R"(
import socket, sys
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
here.bind((sys.argv[1], int(sys.argv[2])))
print('READY port=1 http=1', flush=True)
while True:
    print(here.recv(9), flush=True)
)";

/// Sends a datagram every 10 ms.
constexpr const char* kSpeak = R"(
import socket, sys, time
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    here.sendto(b'x', (sys.argv[1], int(sys.argv[2])))
    time.sleep(0.01)
)";

/// Two hosts; null, and said so, where there can be none.
std::unique_ptr<Network> two_hosts() {
    auto network = make_namespace_network();
    if (!network) {
        harness::say_not_run(network.error().detail);
        return nullptr;
    }
    REQUIRE((*network)->add_host("a").has_value());
    REQUIRE((*network)->add_host("b").has_value());
    return std::move(network).value();
}

/// A Python program on a host.
class Script {
public:
    Script(Network& network,
           const std::string& name,
           const std::string& host,
           const char* text,
           const std::string& address,
           std::uint16_t port)
        : daemon_(network,
                  {name,
                   host,
                   {"/usr/bin/env", "python3", "-c", text, address, std::to_string(port)},
                   directory_.path()}) {
        REQUIRE(daemon_.start().has_value());
    }

    void wait_ready() { REQUIRE(daemon_.process()->wait_ready().has_value()); }

    /// Whether it prints anything from now on, within that time.
    bool prints(milliseconds limit = harness::Process::kPatience) {
        const std::size_t before = daemon_.process()->out().size();
        return harness::wait_until(limit, [&] { return daemon_.process()->out().size() > before; });
    }

    /// Whether it comes to print nothing for a while.
    bool falls_silent() {
        return harness::wait_until(milliseconds(10'000),
                                   [&] { return !prints(milliseconds(300)); });
    }

private:
    harness::TempDirectory directory_;
    Daemon daemon_;
};

}  // namespace

TEST_SUITE("chaos/network") {
    TEST_CASE("a cut between namespaces is one-way, silent, and heals") {
        const std::unique_ptr<Network> network = two_hosts();
        if (!network) {
            return;
        }
        Script hears_a(*network, "hear-b", "b", kHear, network->listen_host("b"), kPort);
        Script hears_b(*network, "hear-a", "a", kHear, network->listen_host("a"), kPort);
        hears_a.wait_ready();
        hears_b.wait_ready();
        const Script a(*network, "speak-a", "a", kSpeak, network->address("b"), kPort);
        const Script b(*network, "speak-b", "b", kSpeak, network->address("a"), kPort);
        CHECK(hears_a.prints());
        CHECK(hears_b.prints());
        REQUIRE(network->cut("a", "b").has_value());
        CHECK(hears_a.falls_silent());
        CHECK(hears_b.prints());
        REQUIRE(network->heal().has_value());
        CHECK(hears_a.prints());
        CHECK(hears_b.prints());
    }

    TEST_CASE("a connection between namespaces stalls in a cut and goes on behind it") {
        const std::unique_ptr<Network> network = two_hosts();
        if (!network) {
            return;
        }
        Script echo(*network, "echo", "b", kEcho, network->listen_host("b"), kPort);
        echo.wait_ready();
        Script ask(*network, "ask", "a", kAsk, network->address("b"), kPort);
        CHECK(ask.prints());
        for (const auto& [from, to] : {std::pair("a", "b"), std::pair("b", "a")}) {
            REQUIRE(network->cut(from, to).has_value());
            CHECK(ask.falls_silent());
            REQUIRE(network->heal().has_value());
            CHECK(ask.prints());
        }
        REQUIRE(network->slow("a").has_value());
        CHECK(ask.prints());
        CHECK(network->heal().has_value());
    }

    TEST_CASE("proxies cut what is told a way, each way, and what is published") {
        const std::unique_ptr<Network> network = make_proxy_network();
        REQUIRE(network->add_host("a").has_value());
        REQUIRE(network->add_host("b").has_value());
        const std::uint16_t port = network->pick_port(0).value();
        Script echo(*network, "echo", "b", kEcho, network->listen_host("b"), port);
        echo.wait_ready();
        const std::string way = network->way("a", "b", port).value();
        const std::size_t colon = way.find(':');
        Script ask(*network,
                   "ask",
                   "a",
                   kAsk,
                   way.substr(0, colon),
                   static_cast<std::uint16_t>(std::stoi(way.substr(colon + 1))));
        CHECK(ask.prints());
        for (const auto& [from, to] : {std::pair("a", "b"), std::pair("b", "a")}) {
            REQUIRE(network->cut(from, to).has_value());
            CHECK(ask.falls_silent());
            REQUIRE(network->heal().has_value());
            CHECK(ask.prints());
        }
    }

    TEST_CASE("what a host publishes is at its own address") {
        const std::unique_ptr<Network> network = make_proxy_network();
        REQUIRE(network->add_host("b").has_value());
        REQUIRE(network->add_host("c").has_value());
        const std::uint16_t port = network->pick_port(0).value();
        Script echo(*network, "echo", "b", kEcho, network->listen_host("b"), port);
        echo.wait_ready();
        REQUIRE(network->publish("b", port).has_value());
        Script ask(*network, "ask", "c", kAsk, network->address("b"), port);
        CHECK(ask.prints());
        REQUIRE(network->cut("c", "b").has_value());
        CHECK(ask.falls_silent());
        REQUIRE(network->heal().has_value());
        CHECK(ask.prints());
    }
}

TEST_SUITE("chaos/world") {
    TEST_CASE("a daemon is killed, frozen and wiped, and one that dies by itself is told") {
        const harness::TempDirectory directory;
        const std::unique_ptr<Network> network = make_proxy_network();
        REQUIRE(network->add_host("a").has_value());
        const auto data = directory.path() / "data";
        std::filesystem::create_directories(data / "inner");
        Daemon sleeper(*network, {"sleeper", "a", {"/bin/sleep", "60"}, directory.path(), 0, data});
        CHECK(!sleeper.is_running());
        REQUIRE(sleeper.start().has_value());
        CHECK(sleeper.is_running());
        CHECK(sleeper.usage().second >= 3);
        sleeper.freeze();
        CHECK(sleeper.is_frozen());
        sleeper.thaw();
        CHECK(!sleeper.is_frozen());
        REQUIRE(sleeper.wipe().has_value());
        CHECK(!sleeper.is_running());
        CHECK(!sleeper.has_died());
        CHECK(!std::filesystem::exists(data));
        Daemon quitter(*network, {"quitter", "a", {"/bin/true"}, directory.path()});
        REQUIRE(quitter.start().has_value());
        CHECK(harness::wait_until(milliseconds(10'000), [&] { return quitter.has_died(); }));
    }
}

}  // namespace gantry::chaos
