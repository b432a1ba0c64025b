// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/mutex.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

/// What a file or file system is asked to do.
enum class Call { kOpen, kWrite, kRead, kSync, kAllocate, kTruncate, kMap, kRename, kRemove };

/// The real file system, until a rule makes a call fail.
///
/// Threads  any.
class FaultyFileSystem final : public FileSystem {
public:
    /// Which calls fail, and how. Counting starts when the rule is set.
    struct Rule {
        Call call = Call::kSync;
        std::string path_part;  ///< only files whose path contains it, or ends with it
        std::uint64_t nth = 1;  ///< the first call that fails
        bool stays = true;      ///< later ones fail too
        Errc code = Errc::kIo;
        std::uint64_t from = 0;  ///< reads: only those that touch [from, to) of the file
        std::uint64_t to = std::numeric_limits<std::uint64_t>::max();
        bool is_end = false;  ///< of path_part: for a directory, not for what is in it
    };

    void fail(Rule rule) {
        const MutexLock lock(state_->mutex);
        state_->rules.push_back({std::move(rule), 0});
    }

    void heal() {
        const MutexLock lock(state_->mutex);
        state_->rules.clear();
    }

    void set_free_bytes(std::optional<std::uint64_t> free) {
        const MutexLock lock(state_->mutex);
        state_->free = free;
    }

    std::uint64_t failures() const { return state_->failures.load(); }

    /// Syncs of files whose path contains `path_part` wait until they are let go, one by one.
    void hold_syncs(std::string path_part) { hold(Call::kSync, std::move(path_part)); }

    /// The same for reads.
    void hold_reads(std::string path_part) { hold(Call::kRead, std::move(path_part)); }

    /// Lets so many of them go: those that wait, then later ones.
    void let_go(std::uint64_t calls) {
        const MutexLock lock(state_->mutex);
        state_->may_go += calls;
        state_->go.notify_all();
    }

    /// Calls that wait now.
    std::uint64_t held() const { return state_->held.load(); }

    Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) override {
        GANTRY_TRY(state_->check(Call::kOpen, path));
        GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<File> file, real_->open(path, how));
        return std::unique_ptr<File>(std::make_unique<FaultyFile>(state_, std::move(file), path));
    }

    Result<std::vector<std::string>> list(const std::filesystem::path& directory) override {
        return real_->list(directory);
    }

    bool exists(const std::filesystem::path& path) override { return real_->exists(path); }

    Status create_directories(const std::filesystem::path& directory) override {
        return real_->create_directories(directory);
    }

    Status rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
        GANTRY_TRY(state_->check(Call::kRename, to));
        return real_->rename(from, to);
    }

    Status remove(const std::filesystem::path& path) override {
        GANTRY_TRY(state_->check(Call::kRemove, path));
        return real_->remove(path);
    }

    Status sync_directory(const std::filesystem::path& directory) override {
        GANTRY_TRY(state_->check(Call::kSync, directory));
        return real_->sync_directory(directory);
    }

    Result<std::uint64_t> free_bytes(const std::filesystem::path& path) override {
        {
            const MutexLock lock(state_->mutex);
            if (state_->free) {
                return *state_->free;
            }
        }
        return real_->free_bytes(path);
    }

    Result<std::unique_ptr<File>> lock(const std::filesystem::path& path) override {
        return real_->lock(path);
    }

private:
    void hold(Call call, std::string path_part) {
        const MutexLock lock(state_->mutex);
        state_->held_call = call;
        state_->held_part = std::move(path_part);
        state_->may_go = 0;
    }

    struct ActiveRule {
        Rule rule;
        std::uint64_t seen = 0;
    };

    struct State {
        Status check(Call call,
                     const std::filesystem::path& path,
                     std::uint64_t begin = 0,
                     std::uint64_t length = 1) {
            const MutexLock lock(mutex);
            for (ActiveRule& active : rules) {
                const Rule& rule = active.rule;
                const std::string& name = path.native();
                const bool is_other = rule.is_end ? !name.ends_with(rule.path_part)
                                                  : name.find(rule.path_part) == std::string::npos;
                const bool is_read_elsewhere =
                    call == Call::kRead && (begin >= rule.to || begin + length <= rule.from);
                if (rule.call != call || is_read_elsewhere || is_other) {
                    continue;
                }
                ++active.seen;
                if (active.seen == rule.nth || (rule.stays && active.seen > rule.nth)) {
                    ++failures;
                    return Error{rule.code, path.string() + ": injected failure"};
                }
            }
            return ok();
        }

        void wait_to_go(Call call, const std::filesystem::path& path) {
            MutexLock lock(mutex);
            if (held_part.empty() || call != held_call ||
                path.string().find(held_part) == std::string::npos) {
                return;
            }
            ++held;
            while (may_go == 0) {
                lock.wait(go);
            }
            --may_go;
            --held;
        }

        Mutex mutex;
        std::vector<ActiveRule> rules GANTRY_GUARDED_BY(mutex);
        Call held_call GANTRY_GUARDED_BY(mutex) = Call::kSync;
        std::string held_part GANTRY_GUARDED_BY(mutex);
        std::uint64_t may_go GANTRY_GUARDED_BY(mutex) = 0;
        std::condition_variable go;
        std::atomic<std::uint64_t> held{0};
        std::optional<std::uint64_t> free GANTRY_GUARDED_BY(mutex);
        std::atomic<std::uint64_t> failures{0};
    };

    class FaultyFile final : public File {
    public:
        FaultyFile(std::shared_ptr<State> state,
                   std::unique_ptr<File> real,
                   std::filesystem::path path)
            : state_(std::move(state)), real_(std::move(real)), path_(std::move(path)) {}

        Status write_at(std::uint64_t offset, Bytes bytes) override {
            GANTRY_TRY(state_->check(Call::kWrite, path_));
            return real_->write_at(offset, bytes);
        }

        Result<std::size_t> read_at(std::uint64_t offset, MutableBytes into) override {
            state_->wait_to_go(Call::kRead, path_);
            GANTRY_TRY(state_->check(Call::kRead, path_, offset, into.size()));
            return real_->read_at(offset, into);
        }

        Status sync_data() override {
            state_->wait_to_go(Call::kSync, path_);
            GANTRY_TRY(state_->check(Call::kSync, path_));
            return real_->sync_data();
        }

        Status allocate(std::uint64_t bytes) override {
            GANTRY_TRY(state_->check(Call::kAllocate, path_));
            return real_->allocate(bytes);
        }

        Status truncate(std::uint64_t bytes) override {
            GANTRY_TRY(state_->check(Call::kTruncate, path_));
            return real_->truncate(bytes);
        }

        Result<std::uint64_t> size() override { return real_->size(); }

        Result<Mapping> map(std::uint64_t size, bool writable) override {
            GANTRY_TRY(state_->check(Call::kMap, path_));
            return real_->map(size, writable);
        }

        int descriptor() const noexcept override { return real_->descriptor(); }

    private:
        std::shared_ptr<State> state_;
        std::unique_ptr<File> real_;
        std::filesystem::path path_;
    };

    std::shared_ptr<State> state_ = std::make_shared<State>();
    std::unique_ptr<FileSystem> real_ = make_posix_file_system();
};

}  // namespace gantry::storage
