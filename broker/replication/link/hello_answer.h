// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "protocol/wire/codes.h"
#include "protocol/wire/replication.pb.h"
#include "storage/replica/epochs.h"

#include <cstdint>
#include <string>

namespace gantry::broker {

/// A master as one who says hello to it has to see it.
struct Greeted {
    std::string group;
    std::string cluster;
    std::int64_t member = 0;
    std::int64_t epoch = 0;
    std::uint64_t segment_bytes = 0;
    storage::EpochList epochs;
    LogOffset first;
    LogOffset end;
    bool needs_seed = false;  ///< the log alone does not tell all
};

/// What a slave is told to do, or why it is refused; pure thought, without proofs.
struct HelloAnswer {
    wire::ResponseCode code = wire::ResponseCode::kSuccess;
    std::string why;
    wire::ReplicaWelcome welcome;
    std::int64_t higher_epoch = 0;  ///< the slave knows one; 0: it does not
};

/// Compares the two histories.
///
///   slave's log            answer
///   a part of the master's bytes from its end on
///   parts from it          cutAt: the last byte both surely have ends there
///   empty                  bytes from the first one, or needsSeed when they do not tell all
///   nothing in common, or ends below what the master still has: isForeign
HelloAnswer answer_hello(const Greeted& master, const wire::ReplicaHello& hello);

/// Epochs as a message has them.
storage::EpochList read_epochs(const google::protobuf::RepeatedPtrField<wire::EpochMark>& marks);
/// Puts them into a message.
void write_epochs(const storage::EpochList& epochs,
                  google::protobuf::RepeatedPtrField<wire::EpochMark>& marks);

}  // namespace gantry::broker
