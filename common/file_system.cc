// SPDX-License-Identifier: Apache-2.0
#include "common/file_system.h"

#include "common/failpoint/failpoint.h"
#include "common/unique_fd.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string_view>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace gantry {
namespace {

namespace fs = std::filesystem;

/// Pages faulted in by one call. A kernel that does not preempt itself gives the processor to
/// nobody else meanwhile: 4 MiB took it for 36 ms where memory is slow when new.
constexpr std::size_t kPopulateStep = 128U << 10U;

Error file_error(std::string_view call, const fs::path& path, int errno_value) {
    Error error = io_error(std::string(call) + ' ' + path.string(), errno_value);
    if (errno_value == ENOSPC || errno_value == EDQUOT) {
        error.code = Errc::kDiskFull;
    } else if (errno_value == ENOENT) {
        error.code = Errc::kNotFound;
    }
    return error;
}

class PosixFile final : public File {
public:
    PosixFile(UniqueFd fd, fs::path path) : fd_(std::move(fd)), path_(std::move(path)) {}

    Status write_at(std::uint64_t offset, Bytes bytes) override {
        while (!bytes.empty()) {
            const ssize_t n =
                ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
            if (n < 0) {
                if (errno == EINTR) {
                    continue;
                }
                return file_error("write", path_, errno);
            }
            if (n == 0) {
                return file_error("write", path_, ENOSPC);
            }
            bytes = bytes.subspan(static_cast<std::size_t>(n));
            offset += static_cast<std::uint64_t>(n);
        }
        return ok();
    }

    Result<std::size_t> read_at(std::uint64_t offset, MutableBytes into) override {
        std::size_t done = 0;
        while (done < into.size()) {
            const ssize_t n = ::pread(fd_.get(),
                                      into.data() + done,
                                      into.size() - done,
                                      static_cast<off_t>(offset + done));
            if (n < 0) {
                if (errno == EINTR) {
                    continue;
                }
                return file_error("read", path_, errno);
            }
            if (n == 0) {
                break;
            }
            done += static_cast<std::size_t>(n);
        }
        return done;
    }

    Status sync_data() override {
        // EINTR counts as a failure too: whether the pages were written is unknown.
        if (::fdatasync(fd_.get()) != 0) {
            return file_error("fdatasync", path_, errno);
        }
        return ok();
    }

    Status allocate(std::uint64_t bytes) override {
        int failure = EINTR;
        while (failure == EINTR) {
            failure = ::posix_fallocate(fd_.get(), 0, static_cast<off_t>(bytes));
        }
        if (failure != 0) {
            return file_error("allocate " + std::to_string(bytes) + " B of", path_, failure);
        }
        return ok();
    }

    Status truncate(std::uint64_t bytes) override {
        while (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
            if (errno != EINTR) {
                return file_error("truncate", path_, errno);
            }
        }
        return ok();
    }

    Result<std::uint64_t> size() override {
        struct stat info {};

        if (::fstat(fd_.get(), &info) != 0) {
            return file_error("stat", path_, errno);
        }
        return static_cast<std::uint64_t>(info.st_size);
    }

    Result<Mapping> map(std::uint64_t size, bool writable) override {
        if (size == 0) {
            return Error{Errc::kRefused, "map " + path_.string() + ": 0 B cannot be mapped"};
        }
        const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
        void* const at = ::mmap(nullptr, size, protection, MAP_SHARED, fd_.get(), 0);
        if (at == MAP_FAILED) {
            return file_error("map", path_, errno);
        }
        return Mapping(static_cast<std::byte*>(at), size);
    }

    int descriptor() const noexcept override { return fd_.get(); }

private:
    UniqueFd fd_;
    fs::path path_;
};

Status sync_directory_of(const fs::path& directory) {
    const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) {
        return file_error("open directory", directory, errno);
    }
    if (::fsync(fd.get()) != 0) {
        return file_error("fsync directory", directory, errno);
    }
    return ok();
}

class PosixFileSystem final : public FileSystem {
public:
    Result<std::unique_ptr<File>> open(const fs::path& path, Open how) override {
        int flags = O_CLOEXEC;
        flags |= how == Open::kRead ? O_RDONLY : O_RDWR;
        if (how == Open::kCreate) {
            flags |= O_CREAT;
        }
        UniqueFd fd(::open(path.c_str(), flags, 0644));
        if (!fd) {
            return file_error("open", path, errno);
        }
        return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(fd), path));
    }

    Result<std::vector<std::string>> list(const fs::path& directory) override {
        // Not by std::filesystem: it opens with openat, which ThreadSanitizer does not see, and
        // takes the close for a race with whoever had that descriptor before.
        UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        const std::unique_ptr<DIR, int (*)(DIR*)> entries(fd ? ::fdopendir(fd.get()) : nullptr,
                                                          &::closedir);
        if (!entries) {
            return file_error("list", directory, errno);
        }
        static_cast<void>(fd.release());  // closedir closes it
        std::vector<std::string> names;
        errno = 0;
        while (const dirent* entry = ::readdir(entries.get())) {
            const std::string_view name = entry->d_name;
            if (name != "." && name != "..") {
                names.emplace_back(name);
            }
            errno = 0;
        }
        if (errno != 0) {
            return file_error("list", directory, errno);
        }
        std::sort(names.begin(), names.end());
        return names;
    }

    bool exists(const fs::path& path) override {
        std::error_code failure;
        return fs::exists(path, failure);
    }

    Status create_directories(const fs::path& directory) override {
        std::error_code failure;
        fs::create_directories(directory, failure);
        if (failure) {
            return file_error("create directory", directory, failure.value());
        }
        return ok();
    }

    Status rename(const fs::path& from, const fs::path& to) override {
        if (::rename(from.c_str(), to.c_str()) != 0) {
            return file_error("rename to " + to.string() + " from", from, errno);
        }
        return ok();
    }

    Status remove(const fs::path& path) override {
        if (::unlink(path.c_str()) != 0) {
            return file_error("remove", path, errno);
        }
        return ok();
    }

    Status sync_directory(const fs::path& directory) override {
        return sync_directory_of(directory);
    }

    Result<std::uint64_t> free_bytes(const fs::path& path) override {
        struct statvfs info {};

        if (::statvfs(path.c_str(), &info) != 0) {
            return file_error("statvfs", path, errno);
        }
        return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
    }

    Result<std::unique_ptr<File>> lock(const fs::path& path) override {
        GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<File> file, open(path, Open::kCreate));
        while (::flock(file->descriptor(), LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK) {
                return Error{Errc::kConflict, "another process holds the lock " + path.string()};
            }
            if (errno != EINTR) {
                return file_error("lock", path, errno);
            }
        }
        return file;
    }
};

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Mapping::~Mapping() {
    if (data_ != nullptr) {
        ::munmap(data_, size_);
    }
}

Status Mapping::populate_for_write(std::size_t offset, std::size_t length) const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t begin = std::min(offset, size_) / page * page;
    const std::size_t end = std::min(offset + length, size_);
    if (begin >= end) {
        return ok();
    }
    for (std::size_t at = begin; at < end; at += std::min(kPopulateStep, end - at)) {
        const std::size_t step = std::min(kPopulateStep, end - at);
        while (::madvise(data_ + at, step, MADV_POPULATE_WRITE) != 0) {
            // EINVAL: a kernel before 5.14. The pages are then faulted in by the stores.
            if (errno == EINVAL) {
                return ok();
            }
            if (errno != EINTR && errno != EAGAIN) {
                return io_error("prefault " + std::to_string(step) + " B of a mapping", errno);
            }
        }
    }
    return ok();
}

std::unique_ptr<FileSystem> make_posix_file_system() {
    return std::make_unique<PosixFileSystem>();
}

Result<std::string> read_file(FileSystem& files, const fs::path& path, std::uint64_t bytes_max) {
    GANTRY_ASSIGN_OR_RETURN(const auto file, files.open(path, FileSystem::Open::kRead));
    GANTRY_ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
    if (size > bytes_max) {
        return Error{Errc::kRefused,
                     path.string() + " has " + std::to_string(size) + " B > " +
                         std::to_string(bytes_max) + " B"};
    }
    std::string content(size, '\0');
    const MutableBytes into(reinterpret_cast<std::byte*>(content.data()), content.size());
    GANTRY_ASSIGN_OR_RETURN(const std::size_t done, file->read_at(0, into));
    content.resize(done);
    return content;
}

Status write_file_atomically(FileSystem& files, const fs::path& path, Bytes content) {
    fs::path temporary = path;
    temporary += ".new";
    const auto write_all = [&]() -> Status {
        GANTRY_ASSIGN_OR_RETURN(const auto file, files.open(temporary, FileSystem::Open::kCreate));
        GANTRY_FAILPOINT_TRY("file.created");
        GANTRY_TRY(file->truncate(0));
        GANTRY_TRY(file->write_at(0, content));
        GANTRY_FAILPOINT_TRY("file.written");
        GANTRY_TRY(file->sync_data());
        GANTRY_FAILPOINT_TRY("file.synced");
        return ok();
    };
    if (Status written = write_all(); !written) {
        // The failure to report is the first one; a left-over is overwritten next time.
        static_cast<void>(files.remove(temporary));
        return written;
    }
    GANTRY_TRY(files.rename(temporary, path));
    GANTRY_FAILPOINT_TRY("file.renamed");
    GANTRY_TRY(files.sync_directory(path.has_parent_path() ? path.parent_path() : fs::path(".")));
    GANTRY_FAILPOINT("file.done");
    return ok();
}

}  // namespace gantry
