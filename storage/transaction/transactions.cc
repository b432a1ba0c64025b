// SPDX-License-Identifier: Apache-2.0
#include "storage/transaction/transactions.h"

#include "protocol/wire/properties.h"
#include "storage/state_machine.h"

#include <charconv>
#include <string>

namespace gantry::storage {
namespace {

constexpr std::int64_t kImmunitySecondsMax = 366 * 86'400;

Error not_open(LogOffset half) {
    return Error{
        Errc::kNotFound,
        "no transaction is open with a half message at log offset " + std::to_string(half.value)};
}

}  // namespace

OpenTransaction transaction_of(const wire::Record& half) {
    OpenTransaction transaction;
    transaction.half = half.log_offset;
    transaction.queue_offset = half.queue_offset;
    transaction.store_ms = half.store_ms;
    transaction.group = wire::find_property(half.properties, wire::property::kProducerGroup);
    const std::string_view immunity =
        wire::find_property(half.properties, wire::property::kCheckImmunity);
    std::int64_t seconds = -1;
    const char* const end = immunity.data() + immunity.size();
    const auto parsed = std::from_chars(immunity.data(), end, seconds);
    if (parsed.ec == std::errc{} && parsed.ptr == end && seconds >= 0) {
        transaction.immunity_ms = std::min(seconds, kImmunitySecondsMax) * 1'000;
    }
    return transaction;
}

Result<Appended> Transactions::open(Queue& queue, const wire::Record& half, std::size_t open_max) {
    return state_.commit_in_order([&]() -> Result<Appended> {
        if (const std::size_t open = table().size(); open >= open_max) {
            return Error{Errc::kBusy,
                         std::to_string(open) +
                             " transactions wait for an outcome, transaction.open_max " +
                             std::to_string(open_max)};
        }
        GANTRY_ASSIGN_OR_RETURN(const Appended appended, append_(queue, half));
        OpenTransaction opened = transaction_of(half);
        opened.half = appended.first;
        opened.queue_offset = appended.queue_offset;
        opened.store_ms = appended.store_ms;
        table().open(opened);
        return appended;
    });
}

Result<Appended> Transactions::end_with(LogOffset half, Queue& queue, const wire::Record& message) {
    return state_.commit_in_order([&]() -> Result<Appended> {
        if (!table().find(half)) {
            return not_open(half);
        }
        wire::Record named = message;
        named.prepared_transaction_offset = half.value;
        GANTRY_ASSIGN_OR_RETURN(const Appended appended, append_(queue, named));
        table().close(half);
        return appended;
    });
}

Result<Appended> Transactions::end(LogOffset half) {
    wire::StateRecord changes;
    changes.add_changes()->mutable_transactionend()->set_half(half.value);
    return state_.commit_if(
        changes, [&]() -> Status { return table().find(half) ? ok() : Status(not_open(half)); });
}

Result<Appended> Transactions::asked(std::span<const LogOffset> halves) {
    wire::StateRecord changes;
    for (const LogOffset half : halves) {
        changes.add_changes()->mutable_transactionasked()->set_half(half.value);
    }
    return state_.commit(changes);
}

LogOffset Transactions::logged() const {
    return state_.folded();
}

TransactionTable& Transactions::table() noexcept {
    return state_.transactions();
}

const TransactionTable& Transactions::table() const noexcept {
    return state_.transactions();
}

}  // namespace gantry::storage
