// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/hello_answer.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace gantry::broker {

namespace {

constexpr std::int64_t kNothingToCut = -1;

HelloAnswer refuse(wire::ResponseCode code, std::string why) {
    HelloAnswer answer;
    answer.code = code;
    answer.why = std::move(why);
    return answer;
}

/// Empty when the two may talk at all.
std::string difference(const Greeted& master, const wire::ReplicaHello& hello) {
    if (hello.group() != master.group) {
        return "broker.name \"" + hello.group() + "\" of the slave is not the master's \"" +
               master.group + "\"";
    }
    if (hello.cluster() != master.cluster) {
        return "broker.cluster \"" + hello.cluster() + "\" of the slave is not the master's \"" +
               master.cluster + "\"";
    }
    if (hello.member() == master.member) {
        return "replication.member " + std::to_string(hello.member()) + " is the master's own";
    }
    if (static_cast<std::uint64_t>(hello.segmentbytes()) != master.segment_bytes) {
        return "store.segment_bytes " + std::to_string(hello.segmentbytes()) +
               " of the slave are not the master's " + std::to_string(master.segment_bytes);
    }
    return {};
}

bool is_ascending(const storage::EpochList& epochs) {
    return std::is_sorted(epochs.begin(), epochs.end(), [](const auto& a, const auto& b) {
        return a.epoch <= b.epoch || a.start < b.start;
    });
}

bool knows(const storage::EpochList& epochs, const storage::EpochStart& wanted) {
    return std::find(epochs.begin(), epochs.end(), wanted) != epochs.end();
}

HelloAnswer told(const Greeted& master) {
    HelloAnswer answer;
    answer.welcome.set_epoch(master.epoch);
    answer.welcome.set_cutat(kNothingToCut);
    answer.welcome.set_master(master.member);
    return answer;
}

HelloAnswer foreign(const Greeted& master, std::string why) {
    HelloAnswer answer = told(master);
    answer.welcome.set_isforeign(true);
    answer.why = std::move(why);
    return answer;
}

HelloAnswer from(const Greeted& master, LogOffset at) {
    HelloAnswer answer = told(master);
    answer.welcome.set_from(at.value);
    return answer;
}

HelloAnswer answer_empty(const Greeted& master,
                         const storage::EpochList& theirs,
                         LogOffset their_end) {
    const bool is_planted = their_end.value > 0 || !theirs.empty();
    if (!is_planted) {
        if (!master.needs_seed) {
            return from(master, LogOffset(0));
        }
        HelloAnswer answer = told(master);
        answer.welcome.set_needsseed(true);
        return answer;
    }
    if (!theirs.empty() && !knows(master.epochs, theirs.back())) {
        return foreign(master, "the seed of its store is of another history");
    }
    if (their_end < master.first || their_end > master.end) {
        return foreign(master,
                       "its empty store begins at " + std::to_string(their_end.value) +
                           ", outside of the master's log");
    }
    return from(master, their_end);
}

HelloAnswer answer_grown(const Greeted& master,
                         const storage::EpochList& theirs,
                         LogOffset their_end) {
    const std::optional<LogOffset> common =
        storage::common_end(master.epochs, master.end, theirs, their_end);
    if (!common) {
        return foreign(master, "no epoch of its log is one of the master's");
    }
    if (*common < master.first) {
        return foreign(master,
                       "what is common ends at " + std::to_string(common->value) +
                           ", the master's log begins at " + std::to_string(master.first.value));
    }
    if (*common < their_end) {
        HelloAnswer answer = told(master);
        answer.welcome.set_cutat(common->value);
        return answer;
    }
    // A seed tells of epochs behind the bytes that are there: none of them can be cut away.
    if (!knows(master.epochs, theirs.back())) {
        return foreign(master, "the seed of its store is of another history");
    }
    return from(master, their_end);
}

}  // namespace

HelloAnswer answer_hello(const Greeted& master, const wire::ReplicaHello& hello) {
    if (std::string why = difference(master, hello); !why.empty()) {
        return refuse(wire::ResponseCode::kInvalidParameter, std::move(why));
    }
    const storage::EpochList theirs = read_epochs(hello.epochs());
    const LogOffset their_end(hello.logend());
    if (!is_ascending(theirs) || hello.logfirst() < 0 || hello.logend() < hello.logfirst()) {
        return refuse(wire::ResponseCode::kInvalidParameter, "the hello contradicts itself");
    }
    const std::int64_t newest = std::max(hello.epoch(), storage::newest_epoch(theirs));
    if (newest > master.epoch) {
        HelloAnswer answer =
            refuse(wire::ResponseCode::kConflict,
                   "epoch " + std::to_string(newest) + " of the slave is newer than the master's " +
                       std::to_string(master.epoch));
        answer.higher_epoch = newest;
        return answer;
    }
    return hello.isempty() ? answer_empty(master, theirs, their_end)
                           : answer_grown(master, theirs, their_end);
}

storage::EpochList read_epochs(const google::protobuf::RepeatedPtrField<wire::EpochMark>& marks) {
    storage::EpochList epochs;
    for (const wire::EpochMark& mark : marks) {
        epochs.push_back(
            {.epoch = mark.epoch(), .id = mark.id(), .start = LogOffset(mark.start())});
    }
    return epochs;
}

void write_epochs(const storage::EpochList& epochs,
                  google::protobuf::RepeatedPtrField<wire::EpochMark>& marks) {
    for (const storage::EpochStart& one : epochs) {
        wire::EpochMark& mark = *marks.Add();
        mark.set_epoch(one.epoch);
        mark.set_id(one.id);
        mark.set_start(one.start.value);
    }
}

}  // namespace gantry::broker
