// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "storage/store.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace gantry::storage {

/// A fresh directory, removed at the end.
class TemporaryDirectory {
public:
    TemporaryDirectory() : TemporaryDirectory(std::filesystem::temp_directory_path()) {}

    explicit TemporaryDirectory(const std::filesystem::path& parent) {
        std::string pattern = (parent / "gantry-store-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }

    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }

    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

/// In memory where there is room for that: for cases that open hundreds of stores.
inline std::filesystem::path fast_directory() {
    const std::filesystem::path memory = "/dev/shm";
    return ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
}

/// A clock that stands still until told.
class ManualClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return now_.load(); }

    SteadyTime steady() const noexcept override { return std::chrono::steady_clock::now(); }

    void set(WallMs now) { now_.store(now); }

private:
    std::atomic<WallMs> now_{1'700'000'000'000};
};

inline constexpr std::uint64_t kTestSegmentBytes = 64 << 10;

inline StoreOptions small_options(const std::filesystem::path& directory) {
    StoreOptions options;
    options.directory = directory;
    options.segment_bytes = kTestSegmentBytes;
    options.prefault_bytes = kTestSegmentBytes;
    options.record_bytes_max = 16 << 10;
    options.hot_bytes = 2 * kTestSegmentBytes;
    options.free_bytes_min = 0;
    options.flush_interval_ms = 20;
    options.queue_file_mib = 1;
    options.key_file_entries = 1'024;
    options.store_host = wire::parse_host("127.0.0.1:10911").value();
    return options;
}

struct TestMessage {
    std::string body;
    std::string tag;
    std::string keys;
};

/// A message in stored form, as a Gantry producer sends it.
inline std::string stored(const std::string& topic,
                          std::int32_t queue,
                          const TestMessage& message) {
    std::string properties;
    if (!message.tag.empty()) {
        REQUIRE(wire::append_property(properties, wire::property::kTags, message.tag));
    }
    if (!message.keys.empty()) {
        REQUIRE(wire::append_property(properties, wire::property::kKeys, message.keys));
    }
    wire::Record record;
    record.queue_id = queue;
    record.born_ms = 1'600'000'000'000;
    record.body = as_bytes(message.body);
    record.topic = topic;
    record.properties = properties;
    std::string bytes(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    return bytes;
}

/// A body of `bytes` that differs for every number.
inline std::string numbered_body(std::size_t number, std::size_t bytes) {
    std::string body = "message " + std::to_string(number) + ' ';
    while (body.size() < bytes) {
        body += static_cast<char>('a' + (body.size() * 7 + number) % 26);
    }
    body.resize(bytes);
    return body;
}

/// One store in one directory, opened and closed at will.
class StoreFixture {
public:
    explicit StoreFixture(const std::filesystem::path& directory)
        : options(small_options(directory)) {}

    /// Opens it, which must succeed.
    Store& open() {
        Result<Store::Opened> opened = try_open();
        if (!opened) {
            FAIL("open: " << to_string(opened.error()));
        }
        store = std::move(opened->store);
        recovery = opened->recovery;
        return *store;
    }

    Result<Store::Opened> try_open() {
        store.reset();
        return Store::open(*files, clock, metrics, options);
    }

    /// A queue of a topic, made when missing.
    Queue& queue(const std::string& topic, std::int32_t id = 0) {
        Topic* found = store->find_topic(topic);
        if (found == nullptr) {
            wire::StateRecord changes;
            wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
            put.set_topicname(topic);
            put.set_readqueuenums(8);
            put.set_writequeuenums(8);
            put.set_perm(perm::kRead | perm::kWrite);
            const auto committed = store->state().commit(changes);
            if (!committed) {
                FAIL("create topic: " << to_string(committed.error()));
            }
            found = store->find_topic(topic);
        }
        REQUIRE(found != nullptr);
        Queue* const queue = found->queue(id);
        REQUIRE(queue != nullptr);
        return *queue;
    }

    Result<Appended> append(Queue& queue, const std::vector<TestMessage>& messages) {
        std::string bytes;
        bool has_keys = false;
        for (const TestMessage& message : messages) {
            bytes += stored(std::string(queue.topic), queue.queue_id, message);
            has_keys = has_keys || !message.keys.empty();
        }
        return store->append_records(
            queue, as_bytes(bytes), static_cast<std::uint32_t>(messages.size()), has_keys);
    }

    TemporaryDirectory copies;  ///< crash images
    std::unique_ptr<FileSystem> posix = make_posix_file_system();
    FileSystem* files = posix.get();
    ManualClock clock;
    MetricRegistry metrics;
    StoreOptions options;
    RecoveryReport recovery;
    std::unique_ptr<Store> store;
};

/// The bytes of a run, from the mapping or the file.
inline std::string run_bytes(const LogRun& run) {
    std::string bytes(run.length, '\0');
    if (!run.memory.empty()) {
        bytes = as_text(run.memory);
    } else {
        REQUIRE(::pread(run.fd, bytes.data(), run.length, static_cast<off_t>(run.file_offset)) ==
                static_cast<ssize_t>(run.length));
    }
    return bytes;
}

/// Bodies of a whole queue, in order; records that are damaged fail the case.
inline std::vector<std::string> read_bodies(const Store& store, const Queue& queue) {
    std::vector<std::string> bodies;
    QueueOffset at = queue.min();
    for (;;) {
        const ReadResult result = store.read(queue, {.from = at});
        if (result.status == ReadStatus::kAtEnd) {
            return bodies;
        }
        REQUIRE((result.status == ReadStatus::kFound || result.status == ReadStatus::kCorrupt));
        for (const LogRun& run : result.runs) {
            const std::string bytes = run_bytes(run);
            const auto add = [&](const std::byte*, const wire::Record& record) -> Status {
                REQUIRE(wire::body_crc_matches(record));
                REQUIRE(record.topic == queue.topic);
                REQUIRE(record.queue_offset == at);
                bodies.emplace_back(as_text(record.body));
                at += 1;
                return ok();
            };
            const Status whole = wire::for_each_record(as_bytes(bytes), add);
            REQUIRE(whole.has_value());
        }
        REQUIRE(result.next > QueueOffset(-1));
        at = result.next;
    }
}

/// The store as a kill would leave it: files, page cache included, copied while it runs. A file
/// that gets its final name meanwhile may be left out; nothing is in it yet.
inline void copy_store(const std::filesystem::path& from, const std::filesystem::path& to) {
    namespace fs = std::filesystem;
    fs::remove_all(to);
    fs::create_directories(to);
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(from)) {
        const fs::path target = to / entry.path().lexically_relative(from);
        std::error_code failed;
        if (entry.is_directory(failed)) {
            fs::create_directory(target);
        } else if (!fs::copy_file(entry.path(), target, failed)) {
            REQUIRE(failed == std::errc::no_such_file_or_directory);
        }
    }
}

template <class T>
Errc code_of(const Result<T>& result) {
    REQUIRE_FALSE(result.has_value());
    return result.error().code;
}

}  // namespace gantry::storage
