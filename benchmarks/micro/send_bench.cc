// SPDX-License-Identifier: Apache-2.0
// What it costs a loop to send runs of a file that is in the page cache over the loopback: copied
// into its output, by reference to the mapping (sendmsg of up to 256 pieces), or by sendfile. An
// answer is 1 MiB in runs of one length that are not adjacent. Sets kCopyBytes and kSendfileBytes
// of the pull handler.
#include "common/unique_fd.h"
#include "protocol/net/output_queue.h"
#include "tcp_pair.h"

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace gantry {
namespace {

constexpr std::size_t kAnswerBytes = std::size_t{1} << 20U;
constexpr std::size_t kFileBytes = std::size_t{128} << 20U;
constexpr std::size_t kReceiveBytes = std::size_t{256} << 10U;

enum class How { kCopy, kReference, kSendfile };

/// A file in the page cache, mapped.
struct HotFile {
    HotFile() {
        std::string path = "/tmp/gantry-send-bench-XXXXXX";
        fd = UniqueFd(::mkstemp(path.data()));
        ::unlink(path.c_str());
        const std::vector<char> block(std::size_t{1} << 20U, 'x');
        for (std::size_t at = 0; fd && at < kFileBytes; at += block.size()) {
            if (::write(fd.get(), block.data(), block.size()) < 0) {
                fd.reset();
            }
        }
        void* const at = ::mmap(
            nullptr, kFileBytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd ? fd.get() : -1, 0);
        memory = at == MAP_FAILED ? nullptr : static_cast<const std::byte*>(at);
    }

    HotFile(const HotFile&) = delete;
    HotFile& operator=(const HotFile&) = delete;

    ~HotFile() {
        if (memory != nullptr) {
            ::munmap(const_cast<std::byte*>(memory), kFileBytes);
        }
    }

    UniqueFd fd;
    const std::byte* memory = nullptr;
};

/// Puts an answer of runs of `run_bytes` into `output`, the file's next ones.
void append_answer(net::OutputQueue& output,
                   const std::shared_ptr<HotFile>& file,
                   std::size_t run_bytes,
                   How how) {
    static std::size_t at = 0;
    output.append_copy({file->memory, 100});
    for (std::size_t done = 0; done < kAnswerBytes; done += run_bytes) {
        at = at + 3 * run_bytes > kFileBytes ? 64 : at + run_bytes + 1'100;
        const Bytes run(file->memory + at, run_bytes);
        if (how == How::kCopy) {
            output.append_copy(run);
        } else if (how == How::kReference) {
            output.append_reference(run, file);
        } else {
            output.append_file({file->fd.get(), at, run_bytes, file});
        }
    }
}

void send_runs(benchmark::State& state, How how) {
    const auto file = std::make_shared<HotFile>();
    auto [client, server] = connect_pair();
    ::fcntl(server.get(), F_SETFL, O_NONBLOCK);
    if (file->memory == nullptr || !server) {
        state.SkipWithError("no file or no loopback connection");
        return;
    }
    std::thread receiving([fd = client.get()] {
        std::vector<char> buffer(kReceiveBytes);
        while (::recv(fd, buffer.data(), buffer.size(), 0) > 0) {
        }
    });
    net::OutputQueue output;
    for (auto _ : state) {
        append_answer(output, file, static_cast<std::size_t>(state.range(0)), how);
        Result<bool> is_gone = output.write_to(server.get());
        while (is_gone && !*is_gone) {
            pollfd writable{.fd = server.get(), .events = POLLOUT, .revents = 0};
            ::poll(&writable, 1, -1);
            is_gone = output.write_to(server.get());
        }
        if (!is_gone) {
            state.SkipWithError("the connection was lost");
            break;
        }
    }
    ::shutdown(server.get(), SHUT_RDWR);
    receiving.join();
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kAnswerBytes));
}

BENCHMARK_CAPTURE(send_runs, copy, How::kCopy)
    ->RangeMultiplier(2)
    ->Range(1 << 10, 1 << 20)
    ->UseRealTime();
BENCHMARK_CAPTURE(send_runs, reference, How::kReference)
    ->RangeMultiplier(2)
    ->Range(1 << 10, 1 << 20)
    ->UseRealTime();
BENCHMARK_CAPTURE(send_runs, sendfile, How::kSendfile)
    ->RangeMultiplier(2)
    ->Range(1 << 10, 1 << 20)
    ->UseRealTime();

}  // namespace
}  // namespace gantry

BENCHMARK_MAIN();
