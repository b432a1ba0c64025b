// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/repair/replica_source.h"
#include "tests/storage/damage/killed_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

/// The log in a store's directory with segments of kTestSegmentBytes; nothing where it has no file.
inline Result<std::string> log_bytes(const std::filesystem::path& store,
                                     LogOffset from,
                                     std::uint64_t bytes) {
    std::string all;
    while (all.size() < bytes) {
        const std::int64_t at = from.value + static_cast<std::int64_t>(all.size());
        const std::int64_t inside = at % std::int64_t{kTestSegmentBytes};
        std::ifstream file(segment_path(store, at - inside), std::ios::binary);
        std::string piece(
            std::min<std::uint64_t>(bytes - all.size(),
                                    kTestSegmentBytes - static_cast<std::uint64_t>(inside)),
            '\0');
        file.seekg(inside);
        file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
        if (file.gcount() != static_cast<std::streamsize>(piece.size())) {
            return Error{Errc::kNotFound, "no such bytes at " + std::to_string(at)};
        }
        all += piece;
    }
    return all;
}

/// Other copies of a log, in directories; what they give can be changed on the way.
class OtherCopies final : public ReplicaSource {
public:
    /// Of one copy: what it says when it is asked for [from, from + bytes.size()).
    using Lie = std::function<Result<std::string>(LogOffset from, std::string bytes)>;

    explicit OtherCopies(std::filesystem::path store) : store_(std::move(store)) {}

    /// The next copy, which lies.
    void add(Lie lie) { lies_.push_back(std::move(lie)); }

    /// The next copy, which does not.
    void add_honest() {
        add([](LogOffset, std::string bytes) -> Result<std::string> { return bytes; });
    }

    std::size_t copies() override { return lies_.size(); }

    Result<std::string> fetch(std::size_t copy, LogOffset from, std::uint64_t bytes) override {
        asked_.fetch_add(1);
        if (is_cancelled_.load()) {
            return Error{Errc::kClosed, "cancelled"};
        }
        GANTRY_ASSIGN_OR_RETURN(std::string there, log_bytes(store_, from, bytes));
        return lies_.at(copy)(from, std::move(there));
    }

    void cancel() noexcept override { is_cancelled_.store(true); }

    int asked() const { return asked_.load(); }

private:
    const std::filesystem::path store_;
    std::vector<Lie> lies_;
    std::atomic<int> asked_{0};
    std::atomic<bool> is_cancelled_{false};
};

inline std::shared_ptr<OtherCopies> honest_copy(const std::filesystem::path& store) {
    auto copy = std::make_shared<OtherCopies>(store);
    copy->add_honest();
    return copy;
}

}  // namespace gantry::storage
