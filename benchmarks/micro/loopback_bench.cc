// SPDX-License-Identifier: Apache-2.0
// What two threads and the kernel's loopback can do on this machine when nobody handles messages:
// batches of 32 KiB one way, answers of 64 B the other way, so many in flight. The ceiling of the
// batched produce shapes, and the yardstick to compare machines with.
#include "common/unique_fd.h"
#include "tcp_pair.h"

#include <benchmark/benchmark.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace gantry {
namespace {

constexpr std::size_t kBatchBytes = 33'000;
constexpr std::size_t kAnswerBytes = 64;
constexpr std::size_t kReceiveBytes = std::size_t{256} << 10U;
constexpr std::int64_t kMessagesPerBatch = 30;

bool send_all(int socket, const char* bytes, std::size_t count) {
    while (count > 0) {
        const ssize_t sent = ::send(socket, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        count -= static_cast<std::size_t>(sent);
    }
    return true;
}

/// Bytes that have come when some have; 0 at the end of the stream.
std::size_t receive(int socket, std::vector<char>& buffer) {
    pollfd readable{.fd = socket, .events = POLLIN, .revents = 0};
    ::poll(&readable, 1, -1);
    const ssize_t got = ::recv(socket, buffer.data(), buffer.size(), 0);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
}

void answer_batches(int socket) {
    std::vector<char> buffer(kReceiveBytes);
    const std::vector<char> answers(kReceiveBytes);
    std::size_t held = 0;
    while (const std::size_t got = receive(socket, buffer)) {
        held += got;
        const std::size_t batches = held / kBatchBytes;
        held %= kBatchBytes;
        if (batches > 0 && !send_all(socket, answers.data(), batches * kAnswerBytes)) {
            return;
        }
    }
}

void loopback_batches(benchmark::State& state) {
    auto [client, server] = connect_pair();
    if (!client || !server) {
        state.SkipWithError("no loopback connection");
        return;
    }
    std::thread answering([fd = server.get()] { answer_batches(fd); });
    const std::vector<char> batch(kBatchBytes, 'x');
    std::vector<char> buffer(kReceiveBytes);
    std::size_t held = 0;
    std::int64_t answered = 0;
    bool is_whole = true;
    for (std::int64_t i = 0; is_whole && i < state.range(0); ++i) {
        is_whole = send_all(client.get(), batch.data(), batch.size());
    }
    for (auto _ : state) {
        const std::size_t got = is_whole ? receive(client.get(), buffer) : 0;
        if (got == 0) {
            state.SkipWithError("the connection was lost");
            break;
        }
        held += got;
        for (; held >= kAnswerBytes && is_whole; held -= kAnswerBytes) {
            is_whole = send_all(client.get(), batch.data(), batch.size());
            ++answered;
        }
    }
    ::shutdown(client.get(), SHUT_RDWR);
    answering.join();
    state.SetItemsProcessed(answered * kMessagesPerBatch);
    state.SetBytesProcessed(answered * static_cast<std::int64_t>(kBatchBytes));
}

BENCHMARK(loopback_batches)->ArgName("in_flight")->Arg(4)->Arg(16)->UseRealTime();

}  // namespace
}  // namespace gantry

BENCHMARK_MAIN();
