// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/sockets/free_port.h"

#include "common/random.h"
#include "common/unique_fd.h"

#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>

namespace gantry::harness {

Result<std::uint16_t> free_port() {
    constexpr std::uint16_t kFrom = 10'000;
    constexpr std::uint16_t kTo = 32'000;
    constexpr int kTriesMax = 100;
    Random random(random_seed());
    for (int i = 0; i < kTriesMax; ++i) {
        const auto port = static_cast<std::uint16_t>(kFrom + random.below(kTo - kFrom));
        const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_ANY);
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        if (socket.get() >= 0 && ::bind(socket.get(), any, sizeof(address)) == 0) {
            return port;
        }
    }
    return io_error("a free port", errno);
}

}  // namespace gantry::harness
