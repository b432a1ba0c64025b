// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace gantry {

/// A shared mapping of part of a file; unmapped on destruction. Movable, not copyable.
class Mapping {
public:
    Mapping() = default;

    Mapping(std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}

    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&& other) noexcept;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    std::byte* data() const noexcept { return data_; }

    std::size_t size() const noexcept { return size_; }

    MutableBytes bytes() const noexcept { return {data_, size_}; }

    /// Faults the pages of [offset, offset + length) in for writing (MADV_POPULATE_WRITE), so that
    /// later stores take no page fault. Blocks; for helper threads. kIo: errno text.
    Status populate_for_write(std::size_t offset, std::size_t length) const;

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// One open file. Threads: calls on one file may run at the same time where the system allows it.
/// Errors: kDiskFull for ENOSPC and EDQUOT, kIo otherwise; detail has path and errno text.
class File {
public:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    virtual ~File() = default;

    /// Writes all of `bytes` at `offset`; short writes are continued.
    virtual Status write_at(std::uint64_t offset, Bytes bytes) = 0;
    /// Fills `into` from `offset`; fewer bytes only at the end of the file.
    virtual Result<std::size_t> read_at(std::uint64_t offset, MutableBytes into) = 0;
    /// fdatasync. A failure is final for everything written before it; never call again to retry.
    virtual Status sync_data() = 0;
    /// Reserves blocks for [0, bytes) and grows the file to that size (posix_fallocate).
    virtual Status allocate(std::uint64_t bytes) = 0;
    virtual Status truncate(std::uint64_t bytes) = 0;
    virtual Result<std::uint64_t> size() = 0;
    /// Maps [0, size) shared. Stores beyond allocated blocks may kill the process: allocate first.
    virtual Result<Mapping> map(std::uint64_t size, bool writable) = 0;
    /// For sendfile, readahead and mincore; owned by this file.
    virtual int descriptor() const noexcept = 0;
};

/// The operating system's files behind an interface, so that tests can make any call fail.
/// Lifetime: outlives every File it opened. Threads: any. All calls block.
class FileSystem {
public:
    enum class Open { kRead, kReadWrite, kCreate };  ///< kCreate: read-write, made when missing

    FileSystem() = default;
    FileSystem(const FileSystem&) = delete;
    FileSystem& operator=(const FileSystem&) = delete;
    virtual ~FileSystem() = default;

    /// kNotFound when the file is missing and `how` does not create it.
    virtual Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) = 0;
    /// Names (not paths) of the entries of `directory`, sorted.
    virtual Result<std::vector<std::string>> list(const std::filesystem::path& directory) = 0;
    virtual bool exists(const std::filesystem::path& path) = 0;
    virtual Status create_directories(const std::filesystem::path& directory) = 0;
    virtual Status rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
    virtual Status remove(const std::filesystem::path& path) = 0;
    /// Makes created, renamed and removed entries of `directory` durable.
    virtual Status sync_directory(const std::filesystem::path& directory) = 0;
    /// Bytes an unprivileged process may still write to the volume of `path`.
    virtual Result<std::uint64_t> free_bytes(const std::filesystem::path& path) = 0;
    /// Takes an exclusive advisory lock, held while the returned file is open. kConflict: another
    /// process holds it.
    virtual Result<std::unique_ptr<File>> lock(const std::filesystem::path& path) = 0;
};

/// The real one.
std::unique_ptr<FileSystem> make_posix_file_system();

/// Whole content of a small file. kRefused above `bytes_max`.
Result<std::string> read_file(FileSystem& files,
                              const std::filesystem::path& path,
                              std::uint64_t bytes_max);

/// Replaces `path` so that a crash leaves the old or the new content: temporary file, sync,
/// rename, directory sync.
Status write_file_atomically(FileSystem& files, const std::filesystem::path& path, Bytes content);

}  // namespace gantry
