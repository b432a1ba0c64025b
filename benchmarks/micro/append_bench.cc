// SPDX-License-Identifier: Apache-2.0
// What an append costs by part: one message of a 1 KiB body each, into pages that are mapped and
// faulted in. Each part runs alone over GANTRY_BENCH_MESSAGES messages (100 000), so that its time
// and, under valgrind, its instructions can be told: see benchmarks/append_cost.py.
#include "bench_directory.h"
#include "common/checksum.h"
#include "protocol/wire/properties.h"
#include "storage/index/consume_queues.h"
#include "storage/index/key_index.h"
#include "storage/log/commit_log.h"
#include "storage/store.h"

#include <benchmark/benchmark.h>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::size_t kBodyBytes = 1'024;
constexpr std::size_t kQueues = 8;
constexpr std::string_view kTopic = "bench";
constexpr std::string_view kProperties = "TAGS\x01TagA\x02";
constexpr std::uint64_t kLogBytes = std::uint64_t{256} << 20U;

std::int64_t message_count() {
    constexpr std::int64_t kUsual = 100'000;
    const char* const wanted = std::getenv("GANTRY_BENCH_MESSAGES");
    return wanted != nullptr ? std::strtoll(wanted, nullptr, 10) : kUsual;
}

/// One segment, faulted in whole; no flush and no next segment while a part is measured.
StoreOptions quiet_options(const std::filesystem::path& directory) {
    StoreOptions options;
    options.directory = directory;
    options.segment_bytes = kLogBytes;
    options.prefault_bytes = kLogBytes;
    options.flush_interval_ms = 3'600'000;
    options.flush_bytes = 2 * kLogBytes;
    options.store_host = wire::parse_host("127.0.0.1:10911").value();
    return options;
}

wire::Record one_message() {
    static const std::string body(kBodyBytes, 'x');
    wire::Record record;
    record.body = as_bytes(body);
    record.topic = kTopic;
    record.properties = kProperties;
    return record;
}

/// As Gantry's producers send it.
std::string stored_message(std::int32_t queue_id) {
    wire::Record record = one_message();
    record.queue_id = queue_id;
    std::string bytes(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    return bytes;
}

/// A commit log and eight queues without the store around them.
class BareLog {
public:
    BareLog() {
        const StoreOptions options = quiet_options(scratch_.path());
        queues_ = ConsumeQueues::open(*files_, {.directory = scratch_.path() / "consumequeue"})
                      .value()
                      .queues;
        for (std::size_t i = 0; i < kQueues; ++i) {
            all_.push_back(&queues_->queue(kTopic, static_cast<std::int32_t>(i)));
        }
        log_ = CommitLog::open(*files_, clock_, metrics_, options).value();
        static_cast<void>(log_->start(LogOffset(0), std::nullopt).value());
    }

    CommitLog& log() { return *log_; }

    QueueIndex& queue(std::int64_t message) {
        return *all_[static_cast<std::size_t>(message) % kQueues];
    }

    /// The first byte of the log; kLogBytes of it can be written to.
    std::byte* memory() { return log_->segments().find(LogOffset(0))->memory(LogOffset(0)); }

private:
    BenchDirectory scratch_;
    std::unique_ptr<FileSystem> files_ = make_posix_file_system();
    SystemClock clock_;
    MetricRegistry metrics_;
    std::unique_ptr<ConsumeQueues> queues_;
    std::vector<QueueIndex*> all_;
    std::unique_ptr<CommitLog> log_;
};

/// Runs `each` for every message and reports the time of one. Valgrind counts what runs in here.
template <class Each>
[[gnu::noinline]] void measure(benchmark::State& state, const Each& each) {
    using Steady = std::chrono::steady_clock;
    const std::int64_t count = message_count();
    for (auto _ : state) {
        const auto begin = Steady::now();
        for (std::int64_t i = 0; i < count; ++i) {
            each(i);
        }
        const double seconds = std::chrono::duration<double>(Steady::now() - begin).count();
        state.SetIterationTime(seconds);
        state.counters["ns_each"] = seconds * 1e9 / static_cast<double>(count);
    }
}

void copy_alone(benchmark::State& state) {
    BareLog bare;
    std::byte* const to = bare.memory();
    const std::string record = stored_message(0);
    measure(state, [&](std::int64_t i) {
        std::memcpy(to + static_cast<std::size_t>(i) * record.size(), record.data(), record.size());
        benchmark::ClobberMemory();
    });
}

void check(benchmark::State& state) {
    const std::string record = stored_message(0);
    measure(state, [&](std::int64_t) {
        benchmark::DoNotOptimize(wire::parse_record(as_bytes(record)).has_value());
    });
}

/// The hash of the tag, out of the properties.
void tag(benchmark::State& state) {
    const std::string properties(kProperties);
    measure(state, [&](std::int64_t) {
        benchmark::DoNotOptimize(
            wire::tag_hash(wire::find_property(properties, wire::property::kTags)));
    });
}

std::vector<Reservation> reserve_all(BareLog& bare) {
    std::vector<Reservation> all;
    const std::size_t bytes = stored_message(0).size();
    for (std::int64_t i = 0; i < message_count(); ++i) {
        all.push_back(bare.log().reserve(bytes, bare.queue(i), 1).value());
    }
    return all;
}

void reserve(benchmark::State& state) {
    BareLog bare;
    const std::size_t bytes = stored_message(0).size();
    std::vector<Reservation> all(static_cast<std::size_t>(message_count()));
    measure(state, [&](std::int64_t i) {
        all[static_cast<std::size_t>(i)] = bare.log().reserve(bytes, bare.queue(i), 1).value();
    });
    for (const Reservation& reserved : all) {
        bare.log().publish(reserved);
    }
}

void publish(benchmark::State& state) {
    BareLog bare;
    const std::vector<Reservation> all = reserve_all(bare);
    measure(state, [&](std::int64_t i) { bare.log().publish(all[static_cast<std::size_t>(i)]); });
}

void unit(benchmark::State& state) {
    BareLog bare;
    const std::vector<Reservation> all = reserve_all(bare);
    measure(state, [&](std::int64_t i) {
        const Reservation& reserved = all[static_cast<std::size_t>(i)];
        reserved.queue->put(reserved.queue_offset, {reserved.first, 1'125, i});
    });
    for (const Reservation& reserved : all) {
        bare.log().publish(reserved);
    }
}

/// Offsets, time and host into a record that lies in the log.
void patch(benchmark::State& state) {
    BareLog bare;
    const std::string record = stored_message(0);
    const wire::StorePatch values{
        QueueOffset(1), LogOffset(2), 3, wire::parse_host("127.0.0.1:10911").value()};
    std::memcpy(bare.memory(), record.data(), record.size());
    measure(state, [&](std::int64_t) {
        wire::patch_record(bare.memory(), values);
        benchmark::ClobberMemory();
    });
}

/// A stock client's message, its body's checksum included.
void encode(benchmark::State& state) {
    BareLog bare;
    std::byte* const to = bare.memory();
    wire::Record record = one_message();
    record.stored_bytes = wire::record_bytes(record);
    measure(state, [&](std::int64_t i) {
        wire::encode_record(
            record, {to + static_cast<std::size_t>(i) * record.stored_bytes, record.stored_bytes});
    });
}

void checksum(benchmark::State& state) {
    const std::string body(kBodyBytes, 'x');
    measure(state,
            [&](std::int64_t) { benchmark::DoNotOptimize(wire::record_body_crc(as_bytes(body))); });
}

/// In the flusher's thread, per message, over blocks of 64 KiB.
void block_sum(benchmark::State& state) {
    BareLog bare;
    const std::byte* const from = bare.memory();
    constexpr std::size_t kShareBytes = kBodyBytes + 101;
    std::size_t due = 0;
    std::size_t at = 0;
    measure(state, [&](std::int64_t) {
        for (due += kShareBytes; due >= BlockSums::kBlockBytes; due -= BlockSums::kBlockBytes) {
            benchmark::DoNotOptimize(xxh3({from + at, BlockSums::kBlockBytes}));
            at += BlockSums::kBlockBytes;
        }
    });
}

/// One key of a message.
void key(benchmark::State& state) {
    const BenchDirectory scratch;
    const auto files = make_posix_file_system();
    const auto opened = KeyIndex::open(*files, {.directory = scratch.path()}).value();
    std::string order = "order-0000000000";
    measure(state, [&](std::int64_t i) {
        const std::string digits = std::to_string(i);
        order.replace(order.size() - digits.size(), digits.size(), digits);
        static_cast<void>(
            opened.index->put(key_hash(kTopic, order), LogOffset(i * 1'125), i).value());
    });
}

/// A whole store with one topic.
class WholeStore {
public:
    WholeStore() {
        store_ =
            Store::open(*files_, clock_, metrics_, quiet_options(scratch_.path())).value().store;
        wire::StateRecord changes;
        wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
        put.set_topicname(std::string(kTopic));
        put.set_readqueuenums(kQueues);
        put.set_writequeuenums(kQueues);
        put.set_perm(perm::kRead | perm::kWrite);
        static_cast<void>(store_->state().commit(changes).value());
        for (std::size_t i = 0; i < kQueues; ++i) {
            all_.push_back(store_->find_topic(kTopic)->queue(static_cast<std::int32_t>(i)));
        }
    }

    Store& store() { return *store_; }

    Queue& queue(std::int64_t message) {
        return *all_[static_cast<std::size_t>(message) % kQueues];
    }

private:
    BenchDirectory scratch_;
    std::unique_ptr<FileSystem> files_ = make_posix_file_system();
    SystemClock clock_;
    MetricRegistry metrics_;
    std::unique_ptr<Store> store_;
    std::vector<Queue*> all_;
};

void append_stored(benchmark::State& state) {
    WholeStore whole;
    const std::int64_t batch = state.range(0);
    std::vector<std::string> batches;
    for (std::size_t id = 0; id < kQueues; ++id) {
        const std::string one = stored_message(static_cast<std::int32_t>(id));
        std::string all;
        for (std::int64_t i = 0; i < batch; ++i) {
            all += one;
        }
        batches.push_back(std::move(all));
    }
    measure(state, [&](std::int64_t i) {
        if (i % batch == 0) {
            const std::int64_t turn = i / batch;
            const std::string& records = batches[static_cast<std::size_t>(turn) % kQueues];
            static_cast<void>(whole.store()
                                  .append_records(whole.queue(turn),
                                                  as_bytes(records),
                                                  static_cast<std::uint32_t>(batch),
                                                  false)
                                  .value());
        }
    });
}

void append_stock(benchmark::State& state) {
    WholeStore whole;
    const wire::Record record = one_message();
    measure(state, [&](std::int64_t i) {
        static_cast<void>(whole.store().append_messages(whole.queue(i), {&record, 1}).value());
    });
}

BENCHMARK(copy_alone)->UseManualTime()->Iterations(1);
BENCHMARK(check)->UseManualTime()->Iterations(1);
BENCHMARK(tag)->UseManualTime()->Iterations(1);
BENCHMARK(reserve)->UseManualTime()->Iterations(1);
BENCHMARK(patch)->UseManualTime()->Iterations(1);
BENCHMARK(encode)->UseManualTime()->Iterations(1);
BENCHMARK(checksum)->UseManualTime()->Iterations(1);
BENCHMARK(unit)->UseManualTime()->Iterations(1);
BENCHMARK(key)->UseManualTime()->Iterations(1);
BENCHMARK(publish)->UseManualTime()->Iterations(1);
BENCHMARK(block_sum)->UseManualTime()->Iterations(1);
BENCHMARK(append_stored)->Arg(1)->UseManualTime()->Iterations(1);
BENCHMARK(append_stored)->Arg(30)->UseManualTime()->Iterations(1);
BENCHMARK(append_stock)->UseManualTime()->Iterations(1);

}  // namespace
}  // namespace gantry::storage

BENCHMARK_MAIN();
