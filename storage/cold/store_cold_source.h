// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/cold/cold_reader.h"
#include "storage/store.h"

#include <string>
#include <utility>

namespace gantry::storage {

/// Cold reads of a store. Lifetime: store and parts outlive it. Threads: those of the cold reader.
class StoreColdSource final : public ColdSource {
public:
    StoreColdSource(const Store& store, Store::Parts& parts) noexcept;

    ReadResult find(const Queue& queue, const ReadRequest& request) override;
    SegmentPtr segment(LogOffset at) override;
    LogOffset end() override;
    void damage_found(LogOffset from, LogOffset to, std::string why) override;
    std::pair<std::uint64_t, std::uint64_t> flushes() override;

private:
    const Store& store_;
    Store::Parts& parts_;
    Counter& flushes_;
    Counter& flush_microseconds_;
};

}  // namespace gantry::storage
