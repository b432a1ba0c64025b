// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/small_file_system.h"

#include "common/unique_fd.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace gantry::harness {
namespace {

Error denied(const std::string& what, int reason) {
    Error error = io_error(what, reason);
    error.code = Errc::kDenied;
    return error;
}

/// Root inside a namespace is the user outside.
void map_user(uid_t user, gid_t group) {
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
    std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
}

}  // namespace

Status leave_mounts_of_others() {
    if (::unshare(CLONE_NEWNS) != 0) {
        const uid_t user = ::geteuid();
        const gid_t group = ::getegid();
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            return denied("a mount namespace, as root or in a user namespace", errno);
        }
        map_user(user, group);
    }
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        return denied("make mounts private", errno);
    }
    return ok();
}

SmallFileSystem::SmallFileSystem(Private /*unused*/, std::filesystem::path directory)
    : directory_(std::move(directory)) {}

Result<std::unique_ptr<SmallFileSystem>> SmallFileSystem::mount(
    const std::filesystem::path& directory, std::uint64_t bytes) {
    GANTRY_TRY(leave_mounts_of_others());
    std::error_code failed;
    std::filesystem::create_directories(directory, failed);
    const std::string options = "size=" + std::to_string(bytes) + ",mode=700";
    if (::mount("tmpfs", directory.c_str(), "tmpfs", 0, options.c_str()) != 0) {
        return denied("mount a tmpfs on " + directory.string(), errno);
    }
    return std::make_unique<SmallFileSystem>(Private{}, directory);
}

SmallFileSystem::~SmallFileSystem() {
    ::umount2(directory_.c_str(), MNT_DETACH);
}

std::uint64_t SmallFileSystem::free_bytes() const {
    std::error_code failed;
    return std::filesystem::space(directory_, failed).available;
}

Status SmallFileSystem::leave_free(std::uint64_t bytes) {
    const std::filesystem::path path = directory_ / "ballast";
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::uint64_t free = free_bytes();
    const off_t taken = file ? ::lseek(file.get(), 0, SEEK_END) : -1;
    if (taken < 0 || free <= bytes) {
        return Error{Errc::kIo, path.string() + " with " + std::to_string(free) + " B free"};
    }
    if (const int failed = ::posix_fallocate(file.get(), taken, static_cast<off_t>(free - bytes));
        failed != 0) {
        return io_error(path.string(), failed);
    }
    return ok();
}

void SmallFileSystem::give_room() {
    std::error_code ignored;
    std::filesystem::remove(directory_ / "ballast", ignored);
}

Status SmallFileSystem::make_read_only() {
    if (::mount("none", directory_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
        return io_error("remount " + directory_.string(), errno);
    }
    return ok();
}

}  // namespace gantry::harness
