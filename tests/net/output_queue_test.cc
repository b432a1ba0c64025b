// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/output_queue.h"

#include "protocol/net/buffer_pool.h"
#include "tests/net/fixture.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <vector>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;

namespace {

/// A connected pair of non-blocking stream sockets.
struct Pair {
    Pair() {
        std::array<int, 2> fds{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) ==
                0);
        writer.reset(fds[0]);
        reader.reset(fds[1]);
    }

    std::string read_some() const {
        std::string bytes(300'000, '\0');
        const ssize_t got = ::recv(reader.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return bytes;
    }

    UniqueFd writer;
    UniqueFd reader;
};

UniqueFd file_of(const std::string& content) {
    std::FILE* const file = std::tmpfile();
    REQUIRE(file != nullptr);
    UniqueFd fd(::dup(::fileno(file)));
    std::fclose(file);
    REQUIRE(::write(fd.get(), content.data(), content.size()) ==
            static_cast<ssize_t>(content.size()));
    return fd;
}

std::string random_bytes(Random& random, std::size_t count) {
    std::string bytes(count, '\0');
    for (char& c : bytes) {
        c = static_cast<char>(random.next());
    }
    return bytes;
}

std::string drain(OutputQueue& queue, const Pair& pair) {
    std::string received;
    bool is_done = false;
    while (!is_done) {
        const Result<bool> written = queue.write_to(pair.writer.get());
        REQUIRE(written);
        is_done = *written;
        for (std::string some = pair.read_some(); !some.empty(); some = pair.read_some()) {
            received += some;
        }
    }
    return received;
}

/// Appends one random piece and says what it is.
std::string append_random(OutputQueue& queue,
                          Random& random,
                          const std::string& file_bytes,
                          int fd) {
    constexpr std::array<std::size_t, 6> kSizes = {1, 40, 300, 5'000, 30'000, 150'000};
    const std::size_t size = 1 + random.below(kSizes[random.below(kSizes.size())]);
    std::string bytes = random_bytes(random, size);
    switch (random.below(5)) {
        case 0:
            queue.tail().append(bytes);
            return bytes;
        case 1:
            queue.append_owned(bytes);
            return bytes;
        case 2: {
            const auto kept = std::make_shared<const std::string>(bytes);
            queue.append_reference(as_bytes(*kept), kept);
            return bytes;
        }
        case 3: {
            const std::uint64_t at = random.below(file_bytes.size() - size);
            queue.append_file({.fd = fd, .offset = at, .length = size});
            return file_bytes.substr(at, size);
        }
        default:
            queue.append_copy(as_bytes(bytes));
            return bytes;
    }
}

}  // namespace

TEST_SUITE("net/output_queue") {
    TEST_CASE("random mixes of owned, referenced and file bytes arrive exactly in order") {
        Random random(test_seed());
        const std::string file_bytes = random_bytes(random, 400'000);
        const UniqueFd file = file_of(file_bytes);
        BufferPool pool;
        for (int round = 0; round < 30; ++round) {
            const Pair pair;
            OutputQueue queue(round % 2 == 0 ? &pool : nullptr);
            std::string expected;
            std::string received;
            for (int i = 0; i < 60; ++i) {
                expected += append_random(queue, random, file_bytes, file.get());
                REQUIRE(queue.written() + queue.bytes() == expected.size());
                if (random.below(8) == 0) {
                    REQUIRE(queue.write_to(pair.writer.get()));
                    received += pair.read_some();
                }
            }
            received += drain(queue, pair);
            CHECK(queue.empty());
            CHECK(queue.written() == expected.size());
            REQUIRE(received.size() == expected.size());
            REQUIRE(received == expected);
        }
    }

    TEST_CASE("pins are let go when their bytes are written, not before") {
        const Pair pair;
        OutputQueue queue;
        const auto memory = std::make_shared<const std::string>(3'000'000, 'm');
        queue.append_reference(as_bytes(*memory), memory);
        const auto file_pin = std::make_shared<int>(0);
        const UniqueFd file = file_of("abc");
        queue.append_file({.fd = file.get(), .offset = 1, .length = 2, .pin = file_pin});
        const Result<bool> first = queue.write_to(pair.writer.get());
        REQUIRE(first);
        CHECK_FALSE(*first);
        CHECK(memory.use_count() == 2);
        CHECK(file_pin.use_count() == 2);
        CHECK(drain(queue, pair) == *memory + "bc");
        CHECK(memory.use_count() == 1);
        CHECK(file_pin.use_count() == 1);
    }

    TEST_CASE("small pieces share a chunk, and chunks go back to the pool") {
        const Pair pair;
        BufferPool pool;
        OutputQueue queue(&pool);
        queue.tail().append("first");
        const char* const chunk = queue.tail().data();
        queue.append_reference(as_bytes("reference"), nullptr);
        queue.tail().append("second");
        CHECK(queue.tail().data() == chunk);
        CHECK(drain(queue, pair) == "firstreferencesecond");
        CHECK(queue.tail().data() == chunk);
    }

    TEST_CASE("a peer that is away is kGone, and costs no signal where SIGPIPE is blocked") {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &set, nullptr);
        Pair pair;
        pair.reader.reset();
        OutputQueue queue;
        queue.tail().append("to nobody");
        const Result<bool> memory = queue.write_to(pair.writer.get());
        REQUIRE_FALSE(memory);
        CHECK(memory.error().code == Errc::kGone);
        queue.clear();
        const UniqueFd file = file_of("abc");
        queue.append_file({.fd = file.get(), .offset = 0, .length = 3});
        const Result<bool> range = queue.write_to(pair.writer.get());
        REQUIRE_FALSE(range);
        CHECK(range.error().code == Errc::kGone);
    }

    TEST_CASE("a file range beyond the end of its file is kIo and names the place") {
        const Pair pair;
        OutputQueue queue;
        const UniqueFd file = file_of("abc");
        queue.append_file({.fd = file.get(), .offset = 0, .length = 10});
        Result<bool> written = queue.write_to(pair.writer.get());
        while (written && !*written) {
            written = queue.write_to(pair.writer.get());
        }
        REQUIRE_FALSE(written);
        CHECK(written.error().code == Errc::kIo);
        CHECK(written.error().detail.find("ends at 3") != std::string::npos);
    }
}
