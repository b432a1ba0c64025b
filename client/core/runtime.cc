// SPDX-License-Identifier: Apache-2.0
#include "client/core/runtime.h"

#include "client/core/heartbeats.h"
#include "client/core/nameservers.h"
#include "client/core/routes.h"
#include "common/log.h"
#include "common/random.h"
#include "common/unique_fd.h"

#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::uint32_t kLoopsMax = 64;
/// For a master that was deposed and lives, to answer what it was asked.
constexpr std::chrono::milliseconds kDeposedGrace{300};

struct HostPort {
    std::string host;
    std::string port;
};

Result<HostPort> split_address(const std::string& address) {
    const std::size_t colon = address.rfind(':');
    HostPort parts;
    if (colon != std::string::npos) {
        parts = {address.substr(0, colon), address.substr(colon + 1)};
    }
    std::uint32_t port = 0;
    const char* const end = parts.port.data() + parts.port.size();
    const auto parsed = std::from_chars(parts.port.data(), end, port);
    if (parts.host.empty() || parsed.ec != std::errc{} || parsed.ptr != end || port == 0 ||
        port > 65'535) {
        return Error{Errc::kRefused, "nameserver address \"" + address + "\" is not \"host:port\""};
    }
    if (parts.host.front() == '[' && parts.host.back() == ']') {
        parts.host = parts.host.substr(1, parts.host.size() - 2);
    }
    return parts;
}

wire::Host host_of(const sockaddr_storage& socket_address) {
    wire::Host host;
    if (socket_address.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &socket_address, sizeof(v6));
        std::memcpy(host.address.data(), &v6.sin6_addr, 16);
        host.is_v6 = true;
    } else {
        sockaddr_in v4{};
        std::memcpy(&v4, &socket_address, sizeof(v4));
        std::memcpy(host.address.data(), &v4.sin_addr, 4);
    }
    return host;
}

/// The address this machine uses towards `peer`: connecting a datagram socket sends nothing.
wire::Host local_host_towards(const HostPort& peer) {
    wire::Host fallback;
    fallback.address = {127, 0, 0, 1};
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(peer.host.c_str(), peer.port.c_str(), &hints, &found) != 0) {
        return fallback;
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
    const UniqueFd socket(::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket || ::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0) {
        return fallback;
    }
    sockaddr_storage local{};
    socklen_t length = sizeof(local);
    if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &length) != 0) {
        return fallback;
    }
    return host_of(local);
}

std::string make_client_id(const wire::Host& local, const std::string& instance) {
    std::string address = wire::to_string(local);
    address.resize(address.rfind(':'));
    if (!instance.empty()) {
        return address + "@" + instance;
    }
    return address + "@" + std::to_string(::getpid()) + "#" + std::to_string(random_seed());
}

}  // namespace

Runtime::Runtime(const Client::Options& options)
    : options_(options), memory_(options.memory_bytes_max) {}

Result<std::unique_ptr<Runtime>> Runtime::start(const Client::Options& options) {
    if (options.nameservers.empty()) {
        return Error{Errc::kRefused, "nameservers is empty: give at least one \"host:port\""};
    }
    if (options.loop_count == 0 || options.loop_count > kLoopsMax) {
        return Error{Errc::kRefused,
                     "loop_count " + std::to_string(options.loop_count) + " is not in 1.." +
                         std::to_string(kLoopsMax)};
    }
    for (const std::string& address : options.nameservers) {
        GANTRY_TRY(split_address(address));
    }
    GANTRY_ASSIGN_OR_RETURN(const HostPort first, split_address(options.nameservers.front()));
    std::unique_ptr<Runtime> runtime(new Runtime(options));
    runtime->local_host_ = local_host_towards(first);
    runtime->client_id_ = make_client_id(runtime->local_host_, options.instance);
    for (std::uint32_t i = 0; i < options.loop_count; ++i) {
        GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<LoopSlot> slot,
                                LoopSlot::start("gantry-cli-" + std::to_string(i), options.spin));
        runtime->slots_.push_back(std::move(slot));
    }
    LoopSlot& control = runtime->control();
    runtime->nameservers_ = std::make_unique<Nameservers>(control, options.nameservers);
    runtime->routes_ = std::make_unique<RouteTable>(control, *runtime->nameservers_);
    runtime->heartbeats_ =
        std::make_unique<Heartbeats>(control, *runtime->routes_, runtime->client_id_);
    runtime->routes_->on_master_left(
        [at = runtime.get()](const std::string& broker,
                             const std::string& address,
                             bool is_deposed) { at->master_left(broker, address, is_deposed); });
    Heartbeats* heartbeats = runtime->heartbeats_.get();
    control.run_and_wait([&control, heartbeats] {
        control.on_new_channel(
            [heartbeats](net::Channel& channel) { heartbeats->attach(channel); });
    });
    return runtime;
}

Runtime::~Runtime() {
    for (std::size_t i = slots_.size(); i > 1; --i) {
        slots_[i - 1]->stop([] {});
    }
    if (!slots_.empty()) {
        control().stop([this] {
            if (heartbeats_ != nullptr) {
                heartbeats_->stop();
                routes_->stop();
                nameservers_->stop();
            }
        });
    }
}

/// Nothing waits for a master that has gone: neither for a link to it nor, once there is another
/// one, for its answer.
void Runtime::master_left(const std::string& broker, const std::string& address, bool is_deposed) {
    for (const std::unique_ptr<LoopSlot>& owned : slots_) {
        LoopSlot* const slot = owned.get();
        slot->post([slot, address] { slot->abandon(address, true); });
        if (is_deposed) {
            slot->post_after(kDeposedGrace, [this, slot, broker, address] {
                if (routes_->master_of(broker) != address) {
                    slot->abandon(address, false);
                }
            });
        }
    }
}

bool Runtime::try_claim_group(const std::string& group) {
    const MutexLock lock(groups_mutex_);
    return groups_.insert(group).second;
}

void Runtime::release_group(const std::string& group) {
    const MutexLock lock(groups_mutex_);
    groups_.erase(group);
}

LoopSlot& Runtime::next_slot() noexcept {
    return *slots_[next_slot_.fetch_add(1, std::memory_order_relaxed) % slots_.size()];
}

}  // namespace gantry::client
