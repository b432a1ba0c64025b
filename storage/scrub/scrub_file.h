// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/unique_fd.h"
#include "storage/cold/cold_memory.h"
#include "storage/log/segment.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::storage {

/// The file of a segment as the disk has it, for looking at: past the page cache where the file
/// system can do that, else through it, and what was not in it before does not stay. The disk is
/// asked with the priority of idle programs.
///
/// Bytes that the disk does not give are zeros here, page by page, and remembered.
///
/// Threads   one. Errors: read_at has none but kBusy, without memory; everything else is refused.
/// Lifetime  keeps the file open.
class ScrubFile final : public File {
public:
    /// Read from the disk at once, at most.
    static constexpr std::size_t kReadBytes = 256 << 10;

    ScrubFile(SegmentPtr segment, bool is_direct);

    Result<std::size_t> read_at(std::uint64_t offset, MutableBytes into) override;

    /// Why bytes in [from, to) of the file could not be read; empty when they could, or were not
    /// asked for.
    std::string read_error(std::uint64_t from, std::uint64_t to) const;

    Status write_at(std::uint64_t offset, Bytes bytes) override;
    Status sync_data() override;
    Status allocate(std::uint64_t bytes) override;
    Status truncate(std::uint64_t bytes) override;
    Result<Mapping> map(std::uint64_t size, bool writable) override;

    Result<std::uint64_t> size() override { return segment_->file().size(); }

    int descriptor() const noexcept override { return segment_->file().descriptor(); }

private:
    struct BadPage {
        std::uint64_t at;
        std::string why;
    };

    std::size_t read_pages(std::uint64_t offset, MutableBytes into);
    Result<std::size_t> read_once(std::uint64_t offset, MutableBytes into);
    Result<std::size_t> read_cached(std::uint64_t offset, MutableBytes into);

    const SegmentPtr segment_;
    UniqueFd direct_;
    PageBuffer buffer_{kReadBytes};
    std::vector<BadPage> bad_pages_;
};

}  // namespace gantry::storage
