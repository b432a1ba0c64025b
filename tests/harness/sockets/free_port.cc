// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/sockets/free_port.h"

#include "common/mutex.h"
#include "common/random.h"
#include "common/unique_fd.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

UniqueFd bound(int family, const sockaddr* address, std::size_t bytes) {
    UniqueFd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const bool is_bound =
        socket && ::bind(socket.get(), address, static_cast<socklen_t>(bytes)) == 0;
    return is_bound ? std::move(socket) : UniqueFd();
}

/// A name in the kernel that one process has at a time, as long as it runs.
UniqueFd claim(std::uint16_t port) {
    const std::string name = "gantry-test-port-" + std::to_string(port);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(&address.sun_path[1], name.data(), name.size());  // 0 first: no file
    return bound(AF_UNIX,
                 reinterpret_cast<const sockaddr*>(&address),
                 offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

bool is_free(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    return static_cast<bool>(
        bound(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
}

}  // namespace

Result<std::uint16_t> free_port() {
    constexpr std::uint16_t kFrom = 10'000;
    constexpr std::uint16_t kTo = 32'000;
    constexpr int kTriesMax = 100;
    static Mutex mutex;
    static std::vector<UniqueFd> claims;  // until the process ends
    Random random(random_seed());
    for (int i = 0; i < kTriesMax; ++i) {
        const auto port = static_cast<std::uint16_t>(kFrom + random.below(kTo - kFrom));
        UniqueFd claimed = claim(port);
        if (claimed && is_free(port)) {
            const MutexLock lock(mutex);
            claims.push_back(std::move(claimed));
            return port;
        }
    }
    return io_error("a free port", errno);
}

}  // namespace gantry::harness
