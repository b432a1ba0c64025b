// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/faults/loop_file_system.h"

#include "tests/harness/programs.h"
#include "tests/harness/small_file_system.h"
#include "tests/harness/wait.h"

#include <cerrno>
#include <chrono>
#include <fstream>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace gantry::harness {
namespace {

constexpr std::chrono::seconds kTryFor{3};

/// A program of the system that must succeed.
Status run(const std::filesystem::path& program, const std::vector<std::string>& arguments) {
    GANTRY_ASSIGN_OR_RETURN(const ProgramRun done, run_program(program, arguments));
    if (done.code != 0) {
        return Error{
            Errc::kDenied,
            program.string() + " ended with " + std::to_string(done.code) + ": " + done.err};
    }
    return ok();
}

/// One that may lose a race: for a free loop device, or with a process that looks at all mounts.
Status run_again(const std::filesystem::path& program, const std::vector<std::string>& arguments) {
    Status last = ok();
    wait_until(kTryFor, [&] {
        last = run(program, arguments);
        return last.has_value();
    });
    return last;
}

Error denied(const std::string& what) {
    Error error = io_error(what, errno);
    error.code = Errc::kDenied;
    return error;
}

}  // namespace

LoopFileSystem::LoopFileSystem(Private /*unused*/, std::filesystem::path directory)
    : directory_(std::move(directory)) {}

Result<std::unique_ptr<LoopFileSystem>> LoopFileSystem::mount(
    const std::filesystem::path& directory, const Options& options) {
    if (::geteuid() != 0) {
        return Error{Errc::kDenied, "a loop device takes root"};
    }
    GANTRY_TRY(leave_mounts_of_others());
    auto made = std::make_unique<LoopFileSystem>(Private{}, directory);
    std::error_code failed;
    std::filesystem::create_directories(directory / "backing", failed);
    std::filesystem::create_directories(made->path(), failed);
    const std::uint64_t room =
        options.backing_bytes != 0 ? options.backing_bytes : 2 * options.disk_bytes;
    const std::string backing = (directory / "backing").string();
    const std::string size = "size=" + std::to_string(room) + ",mode=700";
    if (::mount("tmpfs", backing.c_str(), "tmpfs", 0, size.c_str()) != 0) {
        return denied("mount a tmpfs on " + backing);
    }
    const std::string image = backing + "/image";
    GANTRY_TRY(run("/usr/bin/truncate", {"-s", std::to_string(options.disk_bytes), image}));
    std::vector<std::string> make{"-q", "-F", "-m0", "-E", "nodiscard,lazy_itable_init=0"};
    make.insert(make.end(), options.make.begin(), options.make.end());
    make.push_back(image);
    GANTRY_TRY(run("/usr/sbin/mkfs.ext4", make));
    GANTRY_TRY(made->mount_disk());
    return made;
}

/// Requests of one page: Linux takes a write to a loop device that was cut short, as its backing
/// became full in the middle, for a success.
Status LoopFileSystem::limit_requests() {
    struct stat info {};

    if (::stat(path().c_str(), &info) != 0) {
        return denied("stat " + path().string());
    }
    const std::string limit = "/sys/dev/block/" + std::to_string(major(info.st_dev)) + ":" +
                              std::to_string(minor(info.st_dev)) + "/queue/max_sectors_kb";
    std::ofstream file(limit);
    file << 4 << std::flush;
    return file.good() ? ok() : Status(denied("write " + limit));
}

LoopFileSystem::~LoopFileSystem() {
    static_cast<void>(unmount_disk());
    ::umount2((directory_ / "backing").c_str(), MNT_DETACH);
}

Status LoopFileSystem::mount_disk() {
    GANTRY_TRY(run_again("/usr/bin/mount",
                         {"-o",
                          "loop,errors=continue",
                          (directory_ / "backing" / "image").string(),
                          path().string()}));
    return limit_requests();
}

Status LoopFileSystem::unmount_disk() {
    return run_again("/usr/bin/umount", {path().string()});
}

Status LoopFileSystem::give_backing(std::uint64_t bytes) {
    const std::string size = "size=" + std::to_string(bytes);
    const std::string backing = (directory_ / "backing").string();
    if (::mount("none", backing.c_str(), nullptr, MS_REMOUNT, size.c_str()) != 0) {
        return denied("resize " + backing);
    }
    return ok();
}

Status LoopFileSystem::remount() {
    GANTRY_TRY(unmount_disk());
    return mount_disk();
}

}  // namespace gantry::harness
