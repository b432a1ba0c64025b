// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/log_blocks.h"

#include "common/log.h"
#include "common/unique_fd.h"

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

}  // namespace

std::int64_t read_direct(int fd, std::uint64_t offset, MutableBytes into) noexcept {
    std::size_t done = 0;
    while (done < into.size()) {
        const ssize_t n =
            ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }
        done += static_cast<std::size_t>(n);
        // Less than asked for, and not whole blocks: the end of the file.
        if (n == 0 || done % 512 != 0) {
            break;
        }
    }
    return static_cast<std::int64_t>(done);
}

int open_direct(int fd) noexcept {
    // The same file, opened once more: a descriptor is direct for all its users or for none.
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    return ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
}

Result<std::size_t> LogBlocks::read(const Segment& segment,
                                    std::uint64_t offset,
                                    MutableBytes into) {
    const int fd = segment.file().descriptor();
    if (is_direct_.load(std::memory_order_relaxed)) {
        const UniqueFd direct(open_direct(fd));
        const std::int64_t got = direct ? read_direct(direct.get(), offset, into) : -1;
        if (got >= 0) {
            return static_cast<std::size_t>(got);
        }
        if (errno == EINVAL && is_direct_.exchange(false)) {
            kLog.info("cold reads go through the page cache", {{"reason", "no O_DIRECT there"}});
        }
        // Any other failure shows again below, and is told by the file.
    }
    GANTRY_ASSIGN_OR_RETURN(const std::size_t got, segment.file().read_at(offset, into));
    static_cast<void>(::posix_fadvise(
        fd, static_cast<off_t>(offset), static_cast<off_t>(into.size()), POSIX_FADV_DONTNEED));
    return got;
}

}  // namespace gantry::storage
