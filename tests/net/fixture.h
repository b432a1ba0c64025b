// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/random.h"
#include "protocol/net/event_loop.h"
#include "protocol/net/socket.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <thread>

namespace gantry::net::test {

inline constexpr std::chrono::seconds kPatience{20};

/// Waits until `predicate` holds; false when it does not within the tests' patience.
template <class Predicate>
bool wait_until(Predicate predicate) {
    return harness::wait_until(kPatience, predicate);
}

/// The seed of a random test, printed; GANTRY_TEST_SEED replaces it.
inline std::uint64_t test_seed() {
    const char* const wanted = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed =
        wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : random_seed();
    MESSAGE("GANTRY_TEST_SEED=" << seed);
    return seed;
}

/// A running loop; stops and joins at the end of the scope.
class LoopThread {
public:
    explicit LoopThread(EventLoop::Options options = {})
        : loop_(EventLoop::create(options).value()) {
        loop_->start_thread();
    }

    ~LoopThread() { stop(); }

    LoopThread(const LoopThread&) = delete;
    LoopThread& operator=(const LoopThread&) = delete;

    EventLoop& operator*() { return *loop_; }

    EventLoop* operator->() { return loop_.get(); }

    void stop() {
        loop_->stop();
        loop_->join();
    }

    /// Runs `work` in the loop and returns what it returns.
    template <class Work>
    auto run(Work work) {
        using Value = decltype(work());
        std::promise<Value> promise;
        std::future<Value> future = promise.get_future();
        const Status posted = loop_->post([&] {
            loop_->role().assert_held();
            if constexpr (std::is_void_v<Value>) {
                work();
                promise.set_value();
            } else {
                promise.set_value(work());
            }
        });
        REQUIRE(posted);
        return future.get();
    }

private:
    std::unique_ptr<EventLoop> loop_;
};

/// A blocking client socket that speaks bytes.
class RawPeer {
public:
    explicit RawPeer(std::uint16_t port) {
        const SocketAddress address = *numeric_address("127.0.0.1", port);
        fd_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(fd_.get(), address.get(), address.length) == 0);
        prepare_tcp(fd_.get());
        prepare_congestion_control(fd_.get());
        const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }

    explicit RawPeer(UniqueFd fd) : fd_(std::move(fd)) {}

    int fd() const { return fd_.get(); }

    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0) {
                return false;
            }
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

    /// Exactly `count` bytes, or fewer at the end of the stream.
    std::string receive(std::size_t count) {
        std::string bytes(count, '\0');
        std::size_t have = 0;
        while (have < count) {
            const ssize_t got = ::recv(fd_.get(), bytes.data() + have, count - have, 0);
            if (got <= 0) {
                break;
            }
            have += static_cast<std::size_t>(got);
        }
        bytes.resize(have);
        return bytes;
    }

    /// Everything up to the end of the stream.
    std::string receive_all() {
        std::string all;
        for (std::string some = receive(4'096); !some.empty(); some = receive(4'096)) {
            all += some;
        }
        return all;
    }

    void close() { fd_.reset(); }

private:
    UniqueFd fd_;
};

}  // namespace gantry::net::test
