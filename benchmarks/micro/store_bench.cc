// SPDX-License-Identifier: Apache-2.0
#include "bench_directory.h"
#include "storage/store.h"

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::size_t kBodyBytes = 1'024;
constexpr std::int32_t kQueues = 8;

/// A store in a directory of its own.
class BenchStore {
public:
    explicit BenchStore(FlushMode flush) {
        StoreOptions options;
        options.directory = directory_.path();
        options.flush = flush;
        options.store_host = wire::parse_host("127.0.0.1:10911").value();
        store_ = Store::open(*files_, clock_, metrics_, options).value().store;
        wire::StateRecord changes;
        wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
        put.set_topicname("bench");
        put.set_readqueuenums(kQueues);
        put.set_writequeuenums(kQueues);
        put.set_perm(perm::kRead | perm::kWrite);
        static_cast<void>(store_->state().commit(changes).value());
    }

    Store& store() { return *store_; }

    Queue& queue(std::int32_t id) { return *store_->find_topic("bench")->queue(id); }

private:
    BenchDirectory directory_;
    std::unique_ptr<FileSystem> files_ = make_posix_file_system();
    SystemClock clock_;
    MetricRegistry metrics_;
    std::unique_ptr<Store> store_;
};

std::string make_records(std::int32_t queue_id, std::int64_t count) {
    const std::string body(kBodyBytes, 'x');
    wire::Record record;
    record.queue_id = queue_id;
    record.body = as_bytes(body);
    record.topic = "bench";
    record.properties = "TAGS\x01TagA\x02";
    std::string one(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(one.data()), one.size()});
    std::string all;
    for (std::int64_t i = 0; i < count; ++i) {
        all += one;
    }
    return all;
}

/// Gantry's producers: `range` records in stored form a call, queues in turn.
void append_records(benchmark::State& state) {
    BenchStore bench(FlushMode::kAsync);
    const std::int64_t count = state.range(0);
    std::vector<std::string> batches;
    batches.reserve(kQueues);
    for (std::int32_t id = 0; id < kQueues; ++id) {
        batches.push_back(make_records(id, count));
    }
    std::int32_t id = 0;
    for (auto _ : state) {
        const auto appended =
            bench.store().append_records(bench.queue(id),
                                         as_bytes(batches[static_cast<std::size_t>(id)]),
                                         static_cast<std::uint32_t>(count),
                                         false);
        if (!appended) {
            state.SkipWithError(appended.error().detail.c_str());
            break;
        }
        id = (id + 1) % kQueues;
    }
    state.SetItemsProcessed(state.iterations() * count);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(batches[0].size()));
}

/// Stock clients' messages: encoded by the broker, one a call.
void append_message(benchmark::State& state) {
    BenchStore bench(FlushMode::kAsync);
    const std::string body(kBodyBytes, 'x');
    wire::Record record;
    record.body = as_bytes(body);
    record.properties = "TAGS\x01TagA\x02";
    for (auto _ : state) {
        const auto appended = bench.store().append_messages(bench.queue(0), {&record, 1});
        benchmark::DoNotOptimize(appended);
    }
    state.SetItemsProcessed(state.iterations());
}

/// Reads of up to 256 KiB; written queue by queue (0) or interleaved (1).
void read_runs(benchmark::State& state) {
    BenchStore bench(FlushMode::kAsync);
    const bool interleaved = state.range(0) == 1;
    constexpr std::int64_t kMessages = 40'000;
    for (std::int64_t i = 0; i < kMessages; ++i) {
        const auto id = static_cast<std::int32_t>(interleaved ? i % kQueues : 0);
        static_cast<void>(
            bench.store().append_records(bench.queue(id), as_bytes(make_records(id, 1)), 1, false));
    }
    const Queue& queue = bench.queue(0);
    QueueOffset at;
    std::int64_t records = 0;
    for (auto _ : state) {
        const ReadResult result = bench.store().read(queue, {.from = at, .count_max = 1'024});
        records += result.count;
        at = result.next >= result.max ? QueueOffset(0) : result.next;
        benchmark::DoNotOptimize(result.runs.data());
    }
    state.SetItemsProcessed(records);
}

/// One group commit of `range` messages, appended one by one.
void sync_group(benchmark::State& state) {
    BenchStore bench(FlushMode::kSync);
    const std::string record = make_records(0, 1);
    for (auto _ : state) {
        LogOffset end;
        for (std::int64_t i = 0; i < state.range(0); ++i) {
            end = bench.store()
                      .append_records(bench.queue(0), as_bytes(record), 1, false)
                      .value()
                      .end;
        }
        bench.store().flush_soon();
        while (bench.store().watermarks().flushed < end) {
            std::this_thread::yield();
        }
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(append_records)->Arg(1)->UseRealTime();
BENCHMARK(append_records)->Arg(30)->UseRealTime();
BENCHMARK(append_message)->UseRealTime();
BENCHMARK(read_runs)->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(sync_group)->Arg(1)->Arg(64)->Arg(1'024)->UseRealTime();

}  // namespace
}  // namespace gantry::storage

BENCHMARK_MAIN();
