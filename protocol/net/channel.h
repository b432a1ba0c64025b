// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/unique_function.h"
#include "protocol/net/connection.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace gantry::net {

/// A request to send: header parts and an owned body.
struct Request {
    wire::RequestCode code{};
    const google::protobuf::Message* fields = nullptr;  ///< encoded before call() returns
    std::string body{};
};

/// The pipelined RPC link to one peer: dials on first use, numbers requests, matches answers by
/// opaque in any order, and redials with exponential backoff and jitter after a loss.
///
///   error       meaning for the request
///   kGone       not connected within the deadline, or lost before a byte of it left
///   kUnknown    the connection was lost after it left: may have been carried out
///   kTimeout    no answer by the deadline; an answer that comes later is dropped
///   kBusy       in_flight_max or output_bytes_max reached; nothing was sent
///   kClosed     close() was called
///
/// An answer with any response code is a success here: look at header.response().
///
///   idle -- first call --> dialling -- connected --> up -- lost --> waiting (backoff) --> dialling
///                                                      `-- idle_max --> idle
///
/// Requests called while there is no link wait for it, encoded, until their deadline; a request
/// whose deadline passes before the link is up has not left.
///
/// Threads   the loop's thread only.
/// Network   names are resolved by the loop's resolver (/etc/hosts, /etc/resolv.conf), all
/// addresses
///           of a name are tried inside one connect_timeout. One timer a channel watches all
///           deadlines. Bodies of 16 KiB and more go out without a copy.
/// Lifetime  `done` is called exactly once for every call(), at the latest in the destructor, never
///           from inside call(). It may destroy the channel. The loop outlives the channel.
class Channel {
public:
    /// The peer and what the link to it may use.
    struct Options {
        std::string address;  ///< "host:port"; names are resolved by the loop's resolver
        wire::Codec codec = wire::Codec::kNative;
        std::chrono::milliseconds connect_timeout{3'000};
        std::chrono::milliseconds backoff_min{50};
        std::chrono::milliseconds backoff_max{5'000};
        std::uint32_t in_flight_max = 65'536;
        /// A failed dial fails what waits for the link with kGone at once; else it waits on.
        bool fail_fast = false;
        ConnectionLimits connection;
    };

    using Done = UniqueFunction<void(Result<Received>&)>;
    /// A request from the peer (a callback such as NOTIFY_CONSUMER_IDS_CHANGED).
    using OnRequest = UniqueFunction<void(const Received&)>;
    /// The link came up (true) or was lost (false).
    using OnState = UniqueFunction<void(bool up)>;

    Channel(EventLoop& loop, Options options);
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    /// Who takes requests of the peer; without one they are answered with kRequestCodeNotSupported.
    /// Set before the first call().
    void on_request(OnRequest handler);
    /// Who is told of a link that came up, before what waited for it is sent, or was lost, before
    /// what was outstanding fails. Set before the first call().
    void on_state(OnState handler);

    /// Sends at the end of this pass; everything called in one pass leaves in one write.
    void call(Request request, std::chrono::milliseconds timeout, Done done);
    /// Sends without an answer. kGone when not connected and the dial queue is full.
    Status send_oneway(Request request);
    /// Answers a request of the peer.
    void reply(const ReplyTo& to,
               wire::ResponseCode code,
               std::string_view remark,
               const google::protobuf::Message* fields = nullptr,
               std::string_view body = {});

    /// Dials now instead of at the first call, and ends a pause between dials.
    void connect();

    bool is_up() const noexcept;
    const std::string& address() const noexcept;
    /// Requests without an answer yet, those waiting for the link included.
    std::uint32_t in_flight() const noexcept;
    /// This end's address while the link is up; empty (port 0) otherwise.
    wire::Host local_host() const;

    /// Drops the link, as the peer is not worth waiting for: what was sent fails with kUnknown, the
    /// rest with kGone. The next call dials anew.
    void abandon();
    /// Fails what is outstanding with kClosed and closes the socket.
    void close();

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace gantry::net
