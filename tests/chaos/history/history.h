// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::chaos {

/// What a client did.
enum class Op : std::uint8_t {
    kSend,
    kReceive,    ///< a consumer was given a message
    kCommit,     ///< a group's offset
    kCommitted,  ///< a look at a group's offset
    kRead,       ///< the last look at everything there is, in the order of each queue
};

/// How it ended, as far as its caller was told.
enum class Outcome : std::uint8_t {
    kOk,
    kFail,     ///< it surely did not happen
    kUnknown,  ///< nobody knows
};

/// One line of a history. Names are numbers of the history's tables; times are of the machine's
/// steady clock, in microseconds.
struct Operation {
    std::int64_t invoked = 0;
    std::int64_t returned = 0;
    std::uint32_t process = 0;  ///< who did it
    std::uint32_t topic = 0;
    std::int32_t queue = -1;
    std::uint32_t producer = 0;  ///< of the message; 0: none. The group of a commit
    std::uint64_t counter = 0;   ///< of the message: the producer's how manieth
    std::uint32_t sum = 0;       ///< of the body
    std::int64_t offset = -1;    ///< in the queue
    std::int64_t epoch = -1;     ///< of the master that acknowledged; -1: not known
    std::uint32_t member = 0;    ///< address that acknowledged; 0: not known
    std::int64_t log_offset = -1;
    Op op = Op::kSend;
    Outcome outcome = Outcome::kOk;
};

/// Texts and their numbers; 0 is the empty one.
class Names {
public:
    std::uint32_t number(std::string_view name);

    const std::string& name(std::uint32_t number) const { return names_.at(number); }

    std::size_t size() const noexcept { return names_.size(); }

private:
    std::vector<std::string> names_{""};
    std::map<std::string, std::uint32_t, std::less<>> numbers_{{"", 0}};
};

/// All that clients did, in no order.
struct History {
    std::vector<Operation> operations;
    Names names;
};

/// One line without its end:
///
///   invoked returned process op topic queue producer-counter sum outcome offset epoch
///       member@log-offset
///
/// "-" stands for what is not known.
std::string format(const Operation& operation, const Names& names);
/// kRefused.
Result<Operation> parse(std::string_view line, Names& names);

/// Adds the lines of a file. A last line without an end is left out: its writer was killed.
/// kIo; kRefused with the line's number.
Status read_history(const std::filesystem::path& file, History& history);

/// Now, as histories tell times.
std::int64_t now_us();

/// A file that gets the lines of one process.
///
/// Threads   any.
class HistoryFile {
    struct Private {};

public:
    /// kIo.
    static Result<std::unique_ptr<HistoryFile>> create(const std::filesystem::path& file);

    /// For create only.
    HistoryFile(Private, std::FILE* file) : file_(file) {}

    ~HistoryFile();
    HistoryFile(const HistoryFile&) = delete;
    HistoryFile& operator=(const HistoryFile&) = delete;

    /// The number of a name, for operations that are added.
    std::uint32_t number(std::string_view name);
    void add(const Operation& operation);
    /// Whoever reads the file then sees all that was added.
    void flush();

private:
    Mutex mutex_;
    std::FILE* const file_;
    Names names_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::chaos
