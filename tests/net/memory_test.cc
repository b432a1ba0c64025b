// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/memory_meter.h"
#include "protocol/net/server.h"
#include "tests/net/frames.h"

#include <memory>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <utility>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;

namespace {

/// A server whose connections share a meter.
struct MeteredServer {
    explicit MeteredServer(std::int64_t bytes_max) : meter(bytes_max) {
        Server::Options options;
        options.address = "127.0.0.1";
        options.connection.receive_bytes = 4'096;
        options.connection.memory = &meter;
        auto listened = Server::listen(options, {&*loop}, handler);
        REQUIRE(listened);
        server = std::move(listened).value();
    }

    MemoryMeter meter;
    LoopThread loop;
    EchoHandler handler;
    std::unique_ptr<Server> server;
};

template <class Condition>
void wait_for(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        std::this_thread::yield();
    }
}

}  // namespace

TEST_SUITE("net/memory") {
    TEST_CASE("answers that a peer does not read are counted until it does, or has gone") {
        MeteredServer metered(0);
        constexpr std::size_t kBody = 200'000;
        constexpr int kRequests = 100;
        for (const bool reads : {true, false}) {
            CAPTURE(reads);
            RawPeer peer(metered.server->port());
            std::thread sender([&] {
                for (int i = 0; i < kRequests; ++i) {
                    peer.send(request_frame(i, std::string(kBody, 'b')));
                }
            });
            wait_for([&] { return metered.meter.used() > 10 * static_cast<std::int64_t>(kBody); });
            for (int i = 0; reads && i < kRequests; ++i) {
                REQUIRE(read_reply(peer).opaque == i);
            }
            if (!reads) {
                metered.loop.run([] {});
                ::shutdown(peer.fd(), SHUT_WR);  // ends what the sender is blocked in
            }
            sender.join();
            peer.close();
            wait_for([&] { return metered.meter.used() == 0; });
        }
        CHECK_FALSE(metered.meter.is_full(INT64_MAX / 2));
    }

    TEST_CASE("while there is no room a large frame waits, small ones do not") {
        MeteredServer metered(1'000'000);
        metered.meter.add(1'000'000);
        CHECK(metered.meter.is_full());
        RawPeer small(metered.server->port());
        REQUIRE(small.send(request_frame(1, "small")));
        CHECK(read_reply(small).body == "small");
        RawPeer large(metered.server->port());
        std::thread sender([&] { large.send(request_frame(2, std::string(500'000, 'l'))); });
        wait_for([&] { return metered.meter.used() >= 1'004'096; });
        CHECK(metered.handler.frames == 1);
        REQUIRE(small.send(request_frame(3, "again")));
        CHECK(read_reply(small).body == "again");
        CHECK(metered.handler.frames == 2);
        metered.meter.add(-1'000'000);
        CHECK(read_reply(large).body.size() == 500'000);
        sender.join();
    }
}
