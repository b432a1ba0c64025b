// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/compression.h"
#include "client/message.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gantry::client {

/// What became of the local part of a transaction.
enum class TransactionOutcome : std::uint8_t {
    kUnknown,   ///< not known yet: the broker asks again later
    kCommit,    ///< consumers get the message
    kRollback,  ///< they do not
};

/// A message that is stored, and shown to nobody before its transaction is committed.
struct Transaction {
    std::string id;  ///< UNIQ_KEY of the message: note it with the local change, for the check
    QueueId queue;   ///< where the message goes
    std::int64_t half_log_offset = 0;
    std::int64_t half_queue_offset = 0;
    std::string broker_address;
};

/// How a transaction went, as far as this producer knows.
struct TransactionReceipt {
    Transaction transaction;
    TransactionOutcome outcome = TransactionOutcome::kUnknown;
    bool is_confirmed = false;  ///< the broker knows it; else it asks for it later
};

/// Sends messages together with a local change: consumers see the message exactly if the change
/// was made.
///
///   send: message stored, unseen -> local() makes the change -> commit or rollback
///                                        `- crash, or kUnknown -> the broker asks check()
///
/// `check` is asked for any transaction of the group, also those of other producers of it and of
/// processes that died; it looks in the local data for the transaction's id, MessageView's
/// property("UNIQ_KEY"). While `local` runs here the answer is kUnknown without asking it.
///
///   error       message   what to do
///   kRefused    no        fix the message or option
///   kNotFound   no        create the topic; of commit and rollback: no such transaction
///   kDenied     no        the topic takes no writes
///   kBusy       no        in_flight_max, memory, or the broker's transaction.open_max reached
///   kDiskFull, kReadOnly, kGone   no: no broker took it by the deadline
///   kTimeout, kUnknown    never: it may be stored, but `local` was not run; `check` is asked, and
///               has to answer kRollback for an id it does not find
///   kConflict   -         the transaction ended the other way before: given up by the broker, or
///               decided by another producer's check
///   kClosed     no        close() was called
///
/// An outcome the broker did not confirm is no error: it asks for it. Commits and rollbacks are
/// repeated until the deadline; however often it is repeated, a commit stores the message once.
///
/// Threads   every method: any thread but a callback's; send, begin, commit and rollback wait.
///           `local` of send runs in the caller's thread, of send_async with `done` in one of
///           `threads` threads of the producer, and so does `check`: they may block. What they
///           throw counts as kUnknown.
/// Lifetime  every accepted send_async calls `done` exactly once, at the latest in the destructor,
///           which waits for callbacks that run.
class TransactionProducer {
public:
    /// Deadlines and limits.
    struct Options {
        std::string group = "gantry-transactions";  ///< brokers ask any producer of it
        std::chrono::milliseconds deadline{3'000};  ///< to store the message; then to tell its fate
        std::uint32_t retries_max = 2;              ///< on other brokers, while it is not stored
        std::uint32_t in_flight_max = 1'024;        ///< sends and begins that have not returned
        std::uint32_t threads = 2;
        std::uint32_t checks_waiting_max = 2'000;  ///< further questions are dropped and come again
        std::uint32_t message_bytes_max = 4U << 20U;  ///< of a body as given
        Compression compression;
        /// Before the broker first asks, in whole seconds; below 0: the broker's setting.
        std::chrono::seconds check_immunity{-1};
        /// Their brokers know this producer from the start, so that it is asked about transactions
        /// of others before it sends to them itself.
        std::vector<std::string> topics;
    };

    using Local = UniqueFunction<TransactionOutcome(const Transaction&)>;
    using Check = std::function<TransactionOutcome(const MessageView&)>;
    using Done = UniqueFunction<void(Result<TransactionReceipt>)>;

    /// kRefused: an option out of its range, or no `check`.
    static Result<std::unique_ptr<TransactionProducer>> create(std::shared_ptr<Client> client,
                                                               const Options& options,
                                                               Check check);
    ~TransactionProducer();
    TransactionProducer(const TransactionProducer&) = delete;
    TransactionProducer& operator=(const TransactionProducer&) = delete;

    /// Stores the message, runs `local`, and tells the broker what it returned.
    Result<TransactionReceipt> send(Message message, Local local);
    /// The same in the background. On an error nothing is called.
    Status send_async(Message message, Local local, Done done);

    /// Step by step: stores the message. Its fate is told by commit or rollback, or asked for.
    Result<Transaction> begin(Message message);
    /// Success: the broker knows it, now or before. kTimeout, kUnknown, kGone: it may not; it asks.
    Status commit(const Transaction& transaction);
    Status rollback(const Transaction& transaction);

    /// Takes no more, waits at most `drain_limit` for what was accepted, then fails what has not
    /// begun with kClosed. kTimeout: something still runs. Idempotent.
    Status close(std::chrono::milliseconds drain_limit);

private:
    struct State;
    explicit TransactionProducer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace gantry::client
