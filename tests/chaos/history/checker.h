// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/chaos/history/history.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::chaos {

/// Where an epoch begins in the log.
struct EpochMark {
    std::int64_t epoch = 0;
    std::int64_t start = 0;  ///< log offset
    std::string member;      ///< its master, as acknowledgements name it
};

/// How a history was judged.
struct Verdict {
    /// One rule, how often it was broken, and the first few times in words.
    struct Rule {
        std::string name;
        std::uint64_t broken = 0;
        std::vector<std::string> examples;
    };

    std::uint64_t sends_ok = 0;
    std::uint64_t sends_failed = 0;
    std::uint64_t sends_unknown = 0;
    std::uint64_t unknown_stored = 0;  ///< of those, found in the end
    std::uint64_t failed_stored = 0;   ///< "surely not", and found
    std::uint64_t read = 0;
    std::uint64_t received = 0;
    std::uint64_t received_again = 0;  ///< by the same group; allowed
    std::uint64_t commits = 0;
    std::vector<Rule> rules;

    bool is_good() const;
    const Rule& rule(const std::string& name) const;
};

/// Judges a history in one pass over each kind of operation:
///
///   lost            a send that was ok is read at its queue and offset
///   moved           ... and nowhere else
///   duplicate       no message is read twice
///   order           of one queue, the messages of one producer are read in the order sent
///   holes           the offsets of a queue that are read go up by one
///   rewritten       one offset of a queue is one message, for whoever saw it, whenever
///   from_nowhere    what is read or received was sent, and is not said to have failed
///   seen_then_gone  what a consumer received is read in the end
///   undelivered     what is read was received by every group
///   commit_lost     a look at a group's offset finds no less than what was committed before it
///   two_masters     one member only acknowledges in an epoch
///
/// `marks`: epochs by log offset, ascending, may be empty; for sends that do not tell theirs. There
/// a later master may acknowledge what an earlier one stored (a send that was repeated), but not an
/// earlier master what lies in a later epoch.
/// Memory: about 150 bytes a message.
Verdict check(History& history, const std::vector<EpochMark>& marks);

/// Counts and rules, a line each; the broken ones with examples.
std::string report(const Verdict& verdict);

}  // namespace gantry::chaos
