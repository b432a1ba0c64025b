// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/scrub_file.h"

#include "storage/cold/log_blocks.h"
#include "storage/cold/page_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

namespace gantry::storage {
namespace {

constexpr std::uint64_t kPageBytes = PageBuffer::kPageBytes;

/// Asked about at once: whether it is in the page cache.
constexpr std::uint64_t kCacheBytes = 64 << 10;

/// While it lives, the thread's reads wait for those of others, where the disk's scheduler knows
/// priorities. Only around reads: who waits for a lock of this thread must not wait for idleness.
class IdleReads {
public:
    IdleReads() noexcept { set(kIdle); }

    IdleReads(const IdleReads&) = delete;
    IdleReads& operator=(const IdleReads&) = delete;

    ~IdleReads() { set(kUsual); }

private:
    static constexpr int kUsual = 0;
    static constexpr int kIdle = 3 << 13;  ///< IOPRIO_CLASS_IDLE

    static void set(int priority) noexcept {
        constexpr int kThisThread = 1;
        static_cast<void>(::syscall(SYS_ioprio_set, kThisThread, 0, priority));
    }
};

Error read_only() {
    return Error{Errc::kRefused, "a scrubbed file is only read"};
}

}  // namespace

ScrubFile::ScrubFile(SegmentPtr segment, bool is_direct) : segment_(std::move(segment)) {
    if (is_direct) {
        direct_.reset(open_direct(segment_->file().descriptor()));
    }
}

Result<std::size_t> ScrubFile::read_at(std::uint64_t offset, MutableBytes into) {
    const MutableBytes buffer = buffer_.bytes();
    if (buffer.empty()) {
        return Error{Errc::kBusy, "no memory to read the log with"};
    }
    std::size_t done = 0;
    while (done < into.size()) {
        const std::uint64_t begin = (offset + done) / kPageBytes * kPageBytes;
        const auto inside = static_cast<std::size_t>(offset + done - begin);
        const std::size_t wanted = std::min(into.size() - done, buffer.size() - inside);
        const std::size_t pages = (inside + wanted + kPageBytes - 1) / kPageBytes * kPageBytes;
        const std::size_t got = read_pages(begin, buffer.first(pages));
        if (got <= inside) {
            break;
        }
        const std::size_t usable = std::min(wanted, got - inside);
        std::memcpy(into.data() + done, buffer.data() + inside, usable);
        done += usable;
        if (usable < wanted) {
            break;
        }
    }
    return done;
}

/// Whole pages; a page that cannot be read is zeros.
std::size_t ScrubFile::read_pages(std::uint64_t offset, MutableBytes into) {
    if (const Result<std::size_t> got = read_once(offset, into)) {
        return *got;
    }
    std::size_t done = 0;
    while (done < into.size()) {
        const MutableBytes page = into.subspan(done, kPageBytes);
        const Result<std::size_t> got = read_once(offset + done, page);
        if (!got) {
            std::memset(page.data(), 0, page.size());
            bad_pages_.push_back({offset + done, got.error().detail});
        } else if (*got < page.size()) {
            return done + *got;
        }
        done += page.size();
    }
    return done;
}

Result<std::size_t> ScrubFile::read_once(std::uint64_t offset, MutableBytes into) {
    const IdleReads idle;
    if (direct_) {
        const std::int64_t got = read_direct(direct_.get(), offset, into);
        if (got >= 0) {
            return static_cast<std::size_t>(got);
        }
        const int failure = errno;
        if (failure != EINVAL) {
            return Error{Errc::kIo,
                         "the disk does not give it: " + std::generic_category().message(failure)};
        }
        direct_.reset();
    }
    return read_cached(offset, into);
}

Result<std::size_t> ScrubFile::read_cached(std::uint64_t offset, MutableBytes into) {
    const int fd = segment_->file().descriptor();
    std::size_t done = 0;
    while (done < into.size()) {
        const MutableBytes piece =
            into.subspan(done, std::min<std::size_t>(into.size() - done, kCacheBytes));
        const bool was_cached = is_cached(fd, offset + done, piece.size());
        const Result<std::size_t> got = segment_->file().read_at(offset + done, piece);
        if (!got) {
            return Error{Errc::kIo, "the disk does not give it: " + got.error().detail};
        }
        if (!was_cached) {
            static_cast<void>(::posix_fadvise(fd,
                                              static_cast<off_t>(offset + done),
                                              static_cast<off_t>(piece.size()),
                                              POSIX_FADV_DONTNEED));
        }
        done += *got;
        if (*got < piece.size()) {
            break;
        }
    }
    return done;
}

std::string ScrubFile::read_error(std::uint64_t from, std::uint64_t to) const {
    for (const BadPage& page : bad_pages_) {
        if (page.at < to && page.at + kPageBytes > from) {
            return page.why;
        }
    }
    return {};
}

Status ScrubFile::write_at(std::uint64_t /*offset*/, Bytes /*bytes*/) {
    return read_only();
}

Status ScrubFile::sync_data() {
    return read_only();
}

Status ScrubFile::allocate(std::uint64_t /*bytes*/) {
    return read_only();
}

Status ScrubFile::truncate(std::uint64_t /*bytes*/) {
    return read_only();
}

Result<Mapping> ScrubFile::map(std::uint64_t /*size*/, bool /*writable*/) {
    return read_only();
}

}  // namespace gantry::storage
