// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/replication.pb.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::broker {

/// What makes a message of the replication link believable: a proof that its sender has the group's
/// secret, by HMAC-SHA256 over a challenge of the receiver and every field, and for frames and
/// acknowledgements a sum over every field, since a flipped bit in an offset is as bad as one in
/// the log. The layout is in docs/formats/replication.md.
///
/// Threads   any; nothing is kept.
inline constexpr std::size_t kNonceBytes = 32;

/// Random bytes nobody can foretell.
std::string make_nonce();

/// The proof of a hello.
std::string proof_of(std::string_view secret,
                     std::string_view nonce,
                     const wire::ReplicaHello& hello);
/// The proof of the answer to it.
std::string proof_of(std::string_view secret,
                     std::string_view nonce,
                     const wire::ReplicaWelcome& welcome);
/// The proof of a request for log bytes.
std::string proof_of(std::string_view secret,
                     std::string_view nonce,
                     const wire::LogRangeRequest& request);

/// Takes the same time wherever they differ.
bool is_same_proof(std::string_view a, std::string_view b) noexcept;

/// What ReplicaFrame.sum has to be for a body with that XXH3-64.
std::uint64_t sum_of(const wire::ReplicaFrame& frame, std::uint64_t body_sum);
std::uint64_t sum_of(const wire::ReplicaAck& ack);

}  // namespace gantry::broker
