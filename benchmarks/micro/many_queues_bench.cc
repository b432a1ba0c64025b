// SPDX-License-Identifier: Apache-2.0
#include "bench_directory.h"
#include "storage/state_machine.h"
#include "storage/store.h"

#include <algorithm>
#include <array>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::size_t kBodyBytes = 256;
constexpr std::int64_t kQueuesPerTopic = 100;

/// A store with many queues, and one record to append to any of them.
class ManyQueues {
public:
    explicit ManyQueues(const std::filesystem::path& directory) {
        StoreOptions options;
        options.directory = directory;
        options.checkpoint_bytes = std::uint64_t{1} << 40U;  // what is appended is replayed
        options.store_host = wire::parse_host("127.0.0.1:10911").value();
        store_ = Store::open(*files_, clock_, metrics_, options).value().store;
    }

    void make_queues(std::int64_t count) {
        const std::int64_t topics = (count + kQueuesPerTopic - 1) / kQueuesPerTopic;
        for (std::int64_t i = 0; i < topics; ++i) {
            const auto queues = static_cast<std::int32_t>(std::min(count, kQueuesPerTopic));
            wire::StateRecord changes;
            wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
            put.set_topicname("topic-" + std::to_string(10'000 + i));
            put.set_readqueuenums(queues);
            put.set_writequeuenums(queues);
            put.set_perm(perm::kRead | perm::kWrite);
            static_cast<void>(store_->state().commit(changes).value());
            topics_.push_back({store_->find_topic(put.topicname()), record_of(put.topicname())});
        }
    }

    /// One record to queue `number`, counted over all topics; topics take turns.
    void append(std::int64_t number) {
        const auto topic_count = static_cast<std::int64_t>(topics_.size());
        TopicRecord& to = topics_[static_cast<std::size_t>(number % topic_count)];
        const auto id = static_cast<std::int32_t>(number / topic_count);
        store_be(reinterpret_cast<std::byte*>(to.record.data()) + wire::record_at::kQueueId, id);
        if (!store_->append_records(*to.topic->queue(id), as_bytes(to.record), 1, true)) {
            std::abort();
        }
    }

private:
    struct TopicRecord {
        Topic* topic = nullptr;
        std::string record;
    };

    static std::string record_of(const std::string& topic) {
        const std::string body(kBodyBytes, 'x');
        wire::Record record;
        record.body = as_bytes(body);
        record.topic = topic;
        record.properties = "TAGS\x01TagA\x02";
        std::string one(wire::record_bytes(record), '\0');
        wire::encode_record(record, {reinterpret_cast<std::byte*>(one.data()), one.size()});
        return one;
    }

    std::unique_ptr<FileSystem> files_ = make_posix_file_system();
    SystemClock clock_;
    MetricRegistry metrics_;
    std::unique_ptr<Store> store_;
    std::vector<TopicRecord> topics_;
};

/// Runs `work` in a process that then ends without a word, as a kill does; what it returned.
template <class Work>
std::int64_t in_process(const Work& work) {
    std::array<int, 2> ends{};
    std::int64_t result = -1;
    if (::pipe(ends.data()) != 0) {
        std::abort();
    }
    const pid_t child = ::fork();
    if (child == 0) {
        result = work();
        std::_Exit(::write(ends[1], &result, sizeof(result)) == sizeof(result) ? 0 : 1);
    }
    ::close(ends[1]);
    const bool is_read = ::read(ends[0], &result, sizeof(result)) == sizeof(result);
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    if (child < 0 || !is_read) {
        std::abort();
    }
    return result;
}

std::int64_t seconds_to_ns(double seconds) {
    return static_cast<std::int64_t>(seconds * 1e9);
}

/// One record a call, over `queues` in turn, extents included.
void append_round_robin(benchmark::State& state) {
    const std::int64_t queues = state.range(0);
    const BenchDirectory directory;
    ManyQueues store(directory.path());
    store.make_queues(queues);
    std::int64_t next = 0;
    for (auto _ : state) {
        store.append(next);
        next = next + 1 == queues ? 0 : next + 1;
    }
    state.SetItemsProcessed(state.iterations());
}

void fill(const std::filesystem::path& directory, std::int64_t queues, std::int64_t records) {
    ManyQueues store(directory);
    store.make_queues(queues);
    for (std::int64_t i = 0; i < records; ++i) {
        store.append(i % queues);
    }
}

std::int64_t timed_open(const std::filesystem::path& directory, bool is_killed) {
    const auto begin = std::chrono::steady_clock::now();
    auto store = std::make_unique<ManyQueues>(directory);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (is_killed) {
        static_cast<void>(store.release());  // the process ends here
    } else {
        store.reset();
    }
    return seconds_to_ns(took.count());
}

/// Opening a store after its process was killed: every record is replayed.
void replay(benchmark::State& state) {
    const std::int64_t queues = state.range(0);
    const std::int64_t records = state.range(1);
    const BenchDirectory directory;
    in_process([&] {
        auto store = std::make_unique<ManyQueues>(directory.path());
        store->make_queues(queues);
        for (std::int64_t i = 0; i < records; ++i) {
            store->append(i % queues);
        }
        static_cast<void>(store.release());  // the process ends here
        return records;
    });
    for (auto _ : state) {
        const std::int64_t ns = in_process([&] { return timed_open(directory.path(), true); });
        state.SetIterationTime(static_cast<double>(ns) / 1e9);
    }
    state.SetItemsProcessed(state.iterations() * records);
}

/// Opening a store that was closed.
void open_closed(benchmark::State& state) {
    const BenchDirectory directory;
    fill(directory.path(), state.range(0), state.range(1));
    for (auto _ : state) {
        const std::int64_t ns = in_process([&] { return timed_open(directory.path(), false); });
        state.SetIterationTime(static_cast<double>(ns) / 1e9);
    }
}

BENCHMARK(append_round_robin)->ArgNames({"queues"})->Arg(8)->Arg(100'000)->UseRealTime();
BENCHMARK(replay)
    ->ArgNames({"queues", "records"})
    ->Args({8, 1'000'000})
    ->Args({100'000, 1'000'000})
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(open_closed)
    ->ArgNames({"queues", "records"})
    ->Args({8, 1'000'000})
    ->Args({100'000, 1'000'000})
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gantry::storage

BENCHMARK_MAIN();
