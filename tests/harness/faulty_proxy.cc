// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/faulty_proxy.h"

#include "common/bytes.h"
#include "common/mutex.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string_view>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using Instant = std::chrono::steady_clock::time_point;

constexpr const char* kHost = "127.0.0.1";
constexpr std::size_t kChunk = 65'536;
constexpr std::size_t kQueuedMax = std::size_t{4} << 20U;

enum class Mode { kPass, kDrop, kCut };

/// Bytes on their way from one socket to the other.
struct Lane {
    struct Piece {
        Instant due;
        std::string bytes;
    };

    std::deque<Piece> pieces;
    std::size_t queued_bytes = 0;
    Instant free_at{};  ///< when a limited line has let through what is queued
    bool source_ended = false;
};

/// What happens to bytes that pass.
struct Treatment {
    std::chrono::milliseconds delay{0};
    std::uint64_t bytes_per_second = 0;
    bool flips_bit = false;
};

/// Makes some of the frames that pass come twice.
class Doubler {
public:
    explicit Doubler(std::uint32_t nth) : nth_(nth) {}

    /// What is to be passed on, now that these bytes have come.
    std::string pass(std::string bytes) {
        if (nth_ == 0) {
            return bytes;
        }
        partial_ += bytes;
        std::string out;
        std::size_t at = 0;
        while (partial_.size() - at >= kLengthBytes) {
            const std::byte* const start = as_bytes(partial_).data() + at;
            const std::size_t frame = kLengthBytes + load_be<std::uint32_t>(start);
            if (partial_.size() - at < frame) {
                break;
            }
            const int times = ++frames_ % nth_ == 0 ? 2 : 1;
            for (int i = 0; i < times; ++i) {
                out.append(partial_, at, frame);
            }
            at += frame;
        }
        partial_.erase(0, at);
        return out;
    }

private:
    static constexpr std::size_t kLengthBytes = 4;

    const std::uint32_t nth_;
    std::uint64_t frames_ = 0;
    std::string partial_;
};

struct Link {
    explicit Link(std::uint32_t duplicated) : doublers{Doubler(duplicated), Doubler(0)} {}

    std::array<UniqueFd, 2> sockets;  // client, target
    std::array<Lane, 2> lanes;        // from client, from target
    std::array<Doubler, 2> doublers;
    bool is_dead = false;
};

sockaddr_in address_of(const char* host, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    ::inet_pton(AF_INET, host, &address.sin_addr);
    return address;
}

/// Closing then sends a reset instead of an orderly end.
void reset_on_close(int socket) {
    const linger now{1, 0};
    ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/// When the line has let `bytes` through, which wait for what is before them.
Instant due_time(Lane& lane, const Treatment& treatment, std::size_t bytes) {
    const Instant due = std::chrono::steady_clock::now() + treatment.delay;
    if (treatment.bytes_per_second == 0) {
        return due;
    }
    const std::chrono::duration<double> takes(static_cast<double>(bytes) /
                                              static_cast<double>(treatment.bytes_per_second));
    lane.free_at =
        std::max(lane.free_at, due) + std::chrono::duration_cast<Instant::duration>(takes);
    return lane.free_at;
}

/// Takes what the source has, to throw it away without a treatment; false when the link broke.
bool take_in(int socket, Lane& lane, Doubler& doubler, Treatment* treatment) {
    std::string bytes(kChunk, '\0');
    const ssize_t count = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (count == 0) {
        lane.source_ended = true;
        return true;
    }
    if (treatment != nullptr) {
        bytes.resize(static_cast<std::size_t>(count));
        if (std::exchange(treatment->flips_bit, false)) {
            bytes[bytes.size() / 2] ^= '\x10';
        }
        bytes = doubler.pass(std::move(bytes));
        lane.queued_bytes += bytes.size();
        const Instant due = due_time(lane, *treatment, bytes.size());
        lane.pieces.push_back({due, std::move(bytes)});
    }
    return true;
}

/// Sends what is due; false when the link broke.
bool give_out(int socket, Lane& lane, Instant now) {
    while (!lane.pieces.empty() && lane.pieces.front().due <= now) {
        std::string& bytes = lane.pieces.front().bytes;
        const ssize_t count =
            ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        lane.queued_bytes -= static_cast<std::size_t>(count);
        if (static_cast<std::size_t>(count) < bytes.size()) {
            bytes.erase(0, static_cast<std::size_t>(count));
            return true;
        }
        lane.pieces.pop_front();
    }
    return true;
}

}  // namespace

struct FaultyProxy::State {
    UniqueFd listener;
    UniqueFd wake;
    std::uint16_t port = 0;
    std::uint16_t target_port = 0;
    std::atomic<Mode> mode{Mode::kPass};
    std::atomic<std::int64_t> delay_ms{0};
    std::atomic<std::uint32_t> cuts{0};
    std::atomic<std::uint32_t> duplicate_every{0};
    std::atomic<std::uint64_t> bytes_per_second{0};
    std::array<std::atomic<bool>, 2> is_held{};  // by direction, as lanes of a link
    std::array<std::atomic<bool>, 2> flips_bit{};
    std::string host;
    std::atomic<bool> stopping{false};
    std::atomic<std::size_t> open{0};
    std::vector<std::unique_ptr<Link>> links;
    std::thread thread;

    void poke() const {
        const std::uint64_t one = 1;
        static_cast<void>(!::write(wake.get(), &one, sizeof(one)));
    }

    void run();
    void accept_one();
    int wait_ms(Instant now) const;
    void wait(std::vector<pollfd>& polled) const;
    void serve(Link& link, const pollfd* polled);
};

void FaultyProxy::State::accept_one() {
    UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) {
        return;
    }
    if (mode == Mode::kCut) {
        reset_on_close(client.get());
        return;
    }
    UniqueFd target(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = address_of(kHost, target_port);
    if (::connect(target.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
        0) {
        reset_on_close(client.get());
        return;
    }
    const int on = 1;
    ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(target.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    auto link = std::make_unique<Link>(duplicate_every.load());
    link->sockets = {std::move(client), std::move(target)};
    links.push_back(std::move(link));
}

/// Until the next delayed piece is due; -1 when none waits.
int FaultyProxy::State::wait_ms(Instant now) const {
    std::int64_t least = -1;
    for (const auto& link : links) {
        for (std::size_t side = 0; side < 2; ++side) {
            const Lane& lane = link->lanes[side];
            if (!is_held[side] && !lane.pieces.empty() && lane.pieces.front().due > now) {
                const std::int64_t wait =
                    std::chrono::ceil<std::chrono::milliseconds>(lane.pieces.front().due - now)
                        .count();
                least = least < 0 ? wait : std::min(least, wait);
            }
        }
    }
    return static_cast<int>(least);
}

void FaultyProxy::State::wait(std::vector<pollfd>& polled) const {
    const Instant now = std::chrono::steady_clock::now();
    polled = {{listener.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
    for (const auto& link : links) {
        for (std::size_t side = 0; side < 2; ++side) {
            const Lane& in = link->lanes[side];
            const Lane& out = link->lanes[1 - side];
            short events = 0;
            if (!in.source_ended && in.queued_bytes < kQueuedMax && !is_held[side]) {
                events |= POLLIN;
            }
            if (!out.pieces.empty() && out.pieces.front().due <= now && !is_held[1 - side]) {
                events |= POLLOUT;
            }
            // Without an event to wait for, the end of the connection would be told for ever.
            polled.push_back({events == 0 ? -1 : link->sockets[side].get(), events, 0});
        }
    }
    ::poll(polled.data(), polled.size(), wait_ms(now));
}

void FaultyProxy::State::serve(Link& link, const pollfd* polled) {
    const Instant now = std::chrono::steady_clock::now();
    for (std::size_t side = 0; side < 2; ++side) {
        if (is_held[side]) {
            continue;
        }
        Lane& lane = link.lanes[side];
        const int from = link.sockets[side].get();
        const int to = link.sockets[1 - side].get();
        const bool readable = (polled[side].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
        Treatment treatment{std::chrono::milliseconds(delay_ms.load()), bytes_per_second};
        treatment.flips_bit = readable && flips_bit[side].exchange(false);
        const bool is_passing = mode == Mode::kPass;
        if (readable && !lane.source_ended &&
            !take_in(from, lane, link.doublers[side], is_passing ? &treatment : nullptr)) {
            link.is_dead = true;
        }
        if (treatment.flips_bit && is_passing) {
            flips_bit[side] = true;  // nothing came that it could be in
        }
        if (!give_out(to, lane, now)) {
            link.is_dead = true;
        }
        if (lane.source_ended && lane.pieces.empty()) {
            link.is_dead = true;
        }
    }
}

void FaultyProxy::State::run() {
    set_thread_name("faulty-proxy");
    std::vector<pollfd> polled;
    std::uint32_t cuts_seen = 0;
    while (!stopping) {
        wait(polled);
        if ((polled[1].revents & POLLIN) != 0) {
            std::uint64_t count = 0;
            static_cast<void>(!::read(wake.get(), &count, sizeof(count)));
        }
        const std::uint32_t cuts_now = cuts;
        const bool cut_all = std::exchange(cuts_seen, cuts_now) != cuts_now;
        for (std::size_t i = 0; i < links.size(); ++i) {
            serve(*links[i], &polled[2 + 2 * i]);
            if (cut_all) {
                links[i]->is_dead = true;
                reset_on_close(links[i]->sockets[0].get());
                reset_on_close(links[i]->sockets[1].get());
            }
        }
        links.erase(std::remove_if(
                        links.begin(), links.end(), [](const auto& link) { return link->is_dead; }),
                    links.end());
        if ((polled[0].revents & POLLIN) != 0) {
            accept_one();
        }
        open = links.size();
    }
}

FaultyProxy::FaultyProxy(Private) : state_(std::make_unique<State>()) {}

Result<std::unique_ptr<FaultyProxy>> FaultyProxy::start(std::uint16_t target_port) {
    return start(target_port, {});
}

Result<std::unique_ptr<FaultyProxy>> FaultyProxy::start(std::uint16_t target_port,
                                                        const Listen& where) {
    auto proxy = std::make_unique<FaultyProxy>(Private{});
    State& state = *proxy->state_;
    state.target_port = target_port;
    state.host = where.host;
    state.listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    state.wake.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const int on = 1;
    ::setsockopt(state.listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address = address_of(where.host.c_str(), where.port);
    socklen_t size = sizeof(address);
    if (::bind(state.listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(state.listener.get(), SOMAXCONN) != 0 ||
        ::getsockname(state.listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        return io_error("proxy at " + where.host + ":" + std::to_string(where.port), errno);
    }
    state.port = ntohs(address.sin_port);
    state.thread = std::thread([&state] { state.run(); });
    return proxy;
}

FaultyProxy::~FaultyProxy() {
    state_->stopping = true;
    state_->poke();
    if (state_->thread.joinable()) {
        state_->thread.join();
    }
}

std::uint16_t FaultyProxy::port() const noexcept {
    return state_->port;
}

std::string FaultyProxy::address() const {
    return state_->host + ":" + std::to_string(state_->port);
}

void FaultyProxy::pass() {
    state_->mode = Mode::kPass;
}

void FaultyProxy::drop() {
    state_->mode = Mode::kDrop;
}

void FaultyProxy::cut() {
    state_->mode = Mode::kCut;
    cut_once();
}

void FaultyProxy::cut_once() {
    ++state_->cuts;
    state_->poke();
}

void FaultyProxy::duplicate_every(std::uint32_t nth) {
    state_->duplicate_every = nth;
}

void FaultyProxy::delay(std::chrono::milliseconds by) {
    state_->delay_ms = by.count();
}

void FaultyProxy::hold(Direction direction, bool yes) {
    state_->is_held.at(static_cast<std::size_t>(direction)) = yes;
    state_->poke();
}

void FaultyProxy::limit_rate(std::uint64_t bytes_per_second) {
    state_->bytes_per_second = bytes_per_second;
}

void FaultyProxy::flip_bit(Direction direction) {
    state_->flips_bit.at(static_cast<std::size_t>(direction)) = true;
}

std::size_t FaultyProxy::connection_count() const {
    return state_->open;
}

}  // namespace gantry::harness
