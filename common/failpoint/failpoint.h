// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// Named places in the programs where a test can make the process die, wait or fail.
///
///   GANTRY_FAILPOINT("append.reserved");       here the process can be killed or held up
///   GANTRY_FAILPOINT_TRY("flush.before_sync"); here the function can also return an error
///
/// A point that nothing is set for costs one relaxed load. A build without tests has none at all
/// (CMake option GANTRY_FAILPOINTS).
///
/// Threads   any.
namespace gantry::failpoint {

/// One place.
struct Site {
    std::string_view name;
    bool can_fail = false;  ///< whether an error can be set there
};

/// Every place there is; a name that is not listed does not compile.
inline constexpr std::array kSites = {
    // Appending, in the caller's thread.
    Site{"append.reserved"},
    Site{"append.copied"},
    Site{"append.record"},  // after each record of a batch
    Site{"append.filled"},
    Site{"append.published"},
    Site{"append.rolled"},  // the old segment's rest is marked
    // The flusher.
    Site{"flush.before_sync", true},
    Site{"flush.after_sync"},
    Site{"flush.published"},
    Site{"flush.sums", true},
    Site{"flush.after_sums"},
    // A new segment.
    Site{"segment.created", true},
    Site{"segment.allocated", true},
    Site{"segment.synced", true},
    Site{"segment.renamed", true},
    Site{"segment.named"},
    // A small file that replaces another: checkpoint, snapshot, directory of the queues.
    Site{"file.created", true},
    Site{"file.written", true},
    Site{"file.synced", true},
    Site{"file.renamed", true},
    Site{"file.done"},
    // A checkpoint, and the indexes it makes durable.
    Site{"checkpoint.begin", true},
    Site{"checkpoint.queues", true},
    Site{"checkpoint.keys", true},
    Site{"checkpoint.log", true},
    Site{"checkpoint.state", true},
    Site{"checkpoint.done"},
    Site{"queues.file_allocated", true},
    Site{"queues.before_sync", true},
    Site{"queues.after_sync", true},
    Site{"keys.before_sync", true},
    Site{"keys.after_sync", true},
    Site{"snapshot.saved", true},
    // Opening and recovering.
    Site{"open.marked", true},
    Site{"open.log", true},
    Site{"recovery.opened", true},
    Site{"recovery.walked", true},
    Site{"recovery.checked", true},
    Site{"cut.sums", true},
    Site{"cut.removed", true},
    Site{"cut.truncated", true},
    Site{"cut.allocated", true},
    Site{"cut.synced", true},
    // A store that follows, is cut, put aside, planted.
    Site{"replica.received"},
    Site{"replica.folded"},
    Site{"replica.cut_copied", true},
    Site{"replica.cut_marks", true},
    Site{"replica.cut_snapshots", true},
    Site{"replica.cut_lost", true},
    Site{"replica.aside", true},
    Site{"replica.seed_cleared", true},
    Site{"replica.seed_state", true},
    Site{"open.done", true},
    // Closing.
    Site{"close.log", true},
    Site{"close.checkpointed", true},
    Site{"close.unmarked", true},
    // A lost part of the log that is taken from another copy.
    Site{"mend.fetched", true},
    Site{"mend.written", true},
    Site{"mend.synced", true},
    Site{"mend.units", true},
    Site{"mend.done"},
    // The broker's acknowledgements.
    Site{"send.appended"},
    Site{"ack.durable"},
    Site{"ack.replied"},
    // Transactions: behind the record, before anybody is told.
    Site{"pop.handed_out"},
    Site{"pop.written"},
    Site{"transaction.half_stored"},
    Site{"transaction.committed"},
    Site{"transaction.rolled_back"},
    Site{"transaction.asked"},
};

/// The index of a place in kSites; kSites.size() when there is none of that name and kind.
constexpr std::size_t index_of(std::string_view name, bool can_fail) noexcept {
    std::size_t index = 0;
    while (index < kSites.size() &&
           (kSites[index].name != name || kSites[index].can_fail != can_fail)) {
        ++index;
    }
    return index;
}

/// What happens at a place.
struct Rule {
    /// kError returns `code`, kDelay waits `delay_ms`, kKill ends the process as SIGKILL does.
    enum class Action : std::uint8_t { kOff, kError, kDelay, kKill };

    Action action = Action::kOff;
    std::uint64_t nth = 1;  ///< the first time that counts, from when the rule was set
    bool stays = false;     ///< later times too
    Errc code = Errc::kIo;
    std::uint32_t delay_ms = 0;
};

/// Whether this build has failpoints.
bool is_built_in() noexcept;

/// Sets the rule of a place, in the place of the one before. kNotFound: no such place, with the
/// list of all. kRefused: an error where none can be returned. kUnsupported: none are built in.
Status set(std::string_view name, const Rule& rule);

/// Takes all rules away.
void clear();

/// How often a place was passed since a rule was set for it.
std::uint64_t passes(std::string_view name);

/// Sets rules written as `place=action[@n[+]]`, separated by commas. Actions: `kill`, `error`,
/// `error:disk_full`, `delay:300` (ms). `@n`: the n-th time, `+`: and every later time.
///
///   flush.before_sync=error@3,append.record=kill@100
///
/// Errors: those of set(); kRefused: not of this form.
Status set_from_text(std::string_view text);

/// The same with the text of the environment variable GANTRY_FAILPOINTS, if there is one.
Status set_from_environment();

namespace internal {

/// Whether there is any rule: constant-initialised, and all that a place reads without one.
inline std::atomic<bool> is_any_set{false};

/// Does what is set for a place.
Status pass(std::size_t site);

}  // namespace internal
}  // namespace gantry::failpoint

#if defined(GANTRY_NO_FAILPOINTS)
#define GANTRY_FAILPOINT_PASS(name, can_fail, then) static_cast<void>(0)
#else
#define GANTRY_FAILPOINT_PASS(name, can_fail, then)                                        \
    do {                                                                                   \
        constexpr std::size_t gantry_site = ::gantry::failpoint::index_of(name, can_fail); \
        static_assert(gantry_site < ::gantry::failpoint::kSites.size(), "not in kSites");  \
        if (::gantry::failpoint::internal::is_any_set.load(std::memory_order_relaxed))     \
            [[unlikely]] {                                                                 \
            then(::gantry::failpoint::internal::pass(gantry_site));                        \
        }                                                                                  \
    } while (false)
#endif

/// A place where the process can be killed or held up.
#define GANTRY_FAILPOINT(name) GANTRY_FAILPOINT_PASS(name, false, static_cast<void>)
/// The same in a function that returns a Status or Result: an error can be set, too.
#define GANTRY_FAILPOINT_TRY(name) GANTRY_FAILPOINT_PASS(name, true, GANTRY_TRY)
