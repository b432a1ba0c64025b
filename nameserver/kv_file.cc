// SPDX-License-Identifier: Apache-2.0
#include "nameserver/kv_file.h"

#include <utility>

namespace gantry::nameserver {

KvFile::KvFile(FileSystem& files, std::filesystem::path path)
    : files_(files), path_(std::move(path)), thread_([this] { run(); }) {}

KvFile::~KvFile() {
    {
        const MutexLock lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

Result<std::string> KvFile::read(std::uint64_t bytes_max) {
    if (!files_.exists(path_)) {
        return std::string();
    }
    return read_file(files_, path_, bytes_max);
}

void KvFile::write(std::string content, Done done) {
    {
        const MutexLock lock(mutex_);
        GANTRY_ASSERT(!job_.has_value());
        job_.emplace(Job{std::move(content), std::move(done)});
    }
    wake_.notify_one();
}

void KvFile::run() {
    set_thread_name("kv-file");
    while (true) {
        std::optional<Job> job;
        {
            MutexLock lock(mutex_);
            while (!job_ && !stopping_) {
                lock.wait(wake_);
            }
            if (!job_) {
                return;
            }
            job = std::exchange(job_, std::nullopt);
        }
        job->done(write_file_atomically(files_, path_, as_bytes(job->content)));
    }
}

}  // namespace gantry::nameserver
