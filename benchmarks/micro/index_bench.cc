// SPDX-License-Identifier: Apache-2.0
// Time of the consume queues, the key index and the state machine: per put, per look-up, and of
// opening and flushing a store of many queues. One iteration is a whole run over a fresh directory
// (GANTRY_BENCH_DIR, else the temporary one); counters give the time of one operation.
#include "bench_directory.h"
#include "common/random.h"
#include "storage/index/consume_queues.h"
#include "storage/index/key_index.h"
#include "storage/state_machine.h"
#include "storage/state_snapshot.h"
#include "storage/topic_table.h"

#include <benchmark/benchmark.h>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point begin) {
    return std::chrono::duration<double>(Steady::now() - begin).count();
}

/// Anonymous memory of this process in bytes.
double anonymous_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind("RssAnon:", 0) == 0) {
            return std::strtod(line.c_str() + 8, nullptr) * 1'024;
        }
    }
    return 0;
}

template <class T>
T must(Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "%s\n", to_string(result.error()).c_str());
        std::abort();
    }
    return std::move(result).value();
}

struct Queues {
    explicit Queues(std::size_t count) {
        open();
        for (std::size_t i = 0; i < count; ++i) {
            all.push_back(
                &queues->queue("topic-" + std::to_string(i / 8), static_cast<std::int32_t>(i % 8)));
        }
    }

    bool open() {
        queues.reset();
        auto opened = must(ConsumeQueues::open(*files, {.directory = scratch.path() / "cq"}));
        queues = std::move(opened.queues);
        return !opened.needs_rebuild;
    }

    void put(QueueIndex& queue) {
        if (!queue.has_room(1)) {
            must(queue.ensure_room(1));
        }
        const QueueOffset at = queue.reserve(1);
        queue.put(at, {LogOffset(log_end), 1'024, log_end});
        log_end += 1'024;
        queue.publish(at + 1);
    }

    double flush() {
        const auto begin = Steady::now();
        must(queues->flush([this] { return LogOffset(log_end); }, [](LogOffset) { return ok(); }));
        return seconds_since(begin);
    }

    BenchDirectory scratch;
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    std::unique_ptr<ConsumeQueues> queues;
    std::vector<QueueIndex*> all;
    std::int64_t log_end = 0;
};

void add_time_per(benchmark::State& state, double seconds, double operations) {
    state.SetIterationTime(seconds);
    state.counters["ns_each"] = seconds * 1e9 / operations;
}

void queue_put(benchmark::State& state) {
    const auto queue_count = static_cast<std::size_t>(state.range(0));
    for (auto _ : state) {
        Queues q(queue_count);
        Random random(1);
        const auto begin = Steady::now();
        for (std::int64_t i = 0; i < state.range(1); ++i) {
            q.put(*q.all[random.below(queue_count)]);
        }
        add_time_per(state, seconds_since(begin), static_cast<double>(state.range(1)));
    }
}

/// All queues have their units and the flushed pages are written to again.
void queue_put_after_flush(benchmark::State& state) {
    const auto queue_count = static_cast<std::size_t>(state.range(0));
    for (auto _ : state) {
        Queues q(queue_count);
        Random random(1);
        for (std::size_t i = 0; i < queue_count * 60; ++i) {
            q.put(*q.all[i % queue_count]);
        }
        q.flush();
        const auto begin = Steady::now();
        for (std::int64_t i = 0; i < state.range(1); ++i) {
            q.put(*q.all[random.below(queue_count)]);
        }
        add_time_per(state, seconds_since(begin), static_cast<double>(state.range(1)));
    }
}

void queue_read_32(benchmark::State& state) {
    Queues q(static_cast<std::size_t>(state.range(0)));
    for (std::size_t i = 0; i < q.all.size() * 100; ++i) {
        q.put(*q.all[i % q.all.size()]);
    }
    Random random(1);
    std::vector<QueueUnit> units(32);
    for (auto _ : state) {
        benchmark::DoNotOptimize(q.all[random.below(q.all.size())]->read(QueueOffset(30), units));
    }
}

void open_and_flush(benchmark::State& state) {
    for (auto _ : state) {
        const double before = anonymous_bytes();
        Queues q(static_cast<std::size_t>(state.range(0)));
        const auto begin = Steady::now();
        for (std::int64_t i = 0; i < 100; ++i) {
            for (QueueIndex* queue : q.all) {
                q.put(*queue);
            }
        }
        state.counters["build_ms"] = seconds_since(begin) * 1e3;
        state.counters["bytes_a_queue"] =
            (anonymous_bytes() - before) / static_cast<double>(q.all.size());
        state.counters["flush_ms"] = q.flush() * 1e3;
        state.counters["flush_again_ms"] = q.flush() * 1e3;
        q.put(*q.all[0]);
        state.counters["flush_one_ms"] = q.flush() * 1e3;
        state.counters["file_MiB"] = static_cast<double>(q.queues->file_bytes()) / (1U << 20U);
        const auto reopen = Steady::now();
        if (!q.open()) {
            state.SkipWithError("the queues were not found again");
        }
        const double seconds = seconds_since(reopen);
        state.SetIterationTime(seconds);
        state.counters["open_ms"] = seconds * 1e3;
    }
}

void key_put(benchmark::State& state) {
    for (auto _ : state) {
        const BenchDirectory scratch;
        const auto files = make_posix_file_system();
        const auto opened = must(KeyIndex::open(*files, {.directory = scratch.path()}));
        std::string key = "order-0000000000";
        const auto begin = Steady::now();
        for (std::int64_t i = 0; i < state.range(0); ++i) {
            const std::string digits = std::to_string(i);
            key.replace(key.size() - digits.size(), digits.size(), digits);
            must(opened.index->put(key_hash("some-topic-name", key), LogOffset(i * 1'024), i));
        }
        add_time_per(state, seconds_since(begin), static_cast<double>(state.range(0)));
        const auto flush = Steady::now();
        must(opened.index->flush());
        state.counters["flush_ms"] = seconds_since(flush) * 1e3;
    }
}

void key_find(benchmark::State& state) {
    const BenchDirectory scratch;
    const auto files = make_posix_file_system();
    const auto opened = must(KeyIndex::open(*files, {.directory = scratch.path()}));
    Random keys(1);
    for (std::int64_t i = 0; i < state.range(0); ++i) {
        must(opened.index->put(keys.next(), LogOffset(i), i));
    }
    keys = Random(1);
    for (auto _ : state) {
        const KeyIndex::Query query{keys.next(), 0, state.range(0), 32};
        benchmark::DoNotOptimize(opened.index->find(query));
    }
}

struct Machine {
    explicit Machine(std::int64_t offset_count) {
        auto opened = must(ConsumeQueues::open(
            *files, {.directory = scratch.path() / "cq", .helper_thread = false}));
        queues = std::move(opened.queues);
        topics = std::make_unique<TopicTable>(*queues);
        state = std::make_unique<LogStateMachine>(*topics, [this](const std::string& body) {
            const LogOffset at(end);
            end += static_cast<std::int64_t>(body.size());
            return Result<Appended>(Appended{at, LogOffset(end), QueueOffset(next++), 1, 0});
        });
        for (std::int64_t i = 0; i < offset_count; i += 100) {
            wire::StateRecord record;
            for (std::int64_t j = i; j < std::min(i + 100, offset_count); ++j) {
                set(*record.add_changes()->mutable_offsetput(), j);
            }
            must(state->commit(record));
        }
    }

    static void set(wire::OffsetPut& put, std::int64_t i) {
        put.set_group("group-" + std::to_string(i / 1'000));
        put.set_topic("topic-" + std::to_string(i / 8 % 125));
        put.set_queueid(static_cast<std::int32_t>(i % 8));
        put.set_offset(i);
    }

    BenchDirectory scratch;
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    std::unique_ptr<ConsumeQueues> queues;
    std::unique_ptr<TopicTable> topics;
    std::unique_ptr<LogStateMachine> state;
    std::int64_t end = 0;
    std::int64_t next = 0;
};

void offset_commit(benchmark::State& state) {
    Machine machine(state.range(0));
    Random random(1);
    wire::StateRecord record;
    for (int i = 0; i < state.range(1); ++i) {
        record.add_changes();
    }
    for (auto _ : state) {
        for (wire::StateChange& change : *record.mutable_changes()) {
            Machine::set(*change.mutable_offsetput(),
                         static_cast<std::int64_t>(
                             random.below(static_cast<std::uint64_t>(state.range(0)))));
        }
        must(machine.state->commit(record));
    }
    state.SetItemsProcessed(state.iterations() * state.range(1));
}

void offset_find(benchmark::State& state) {
    const Machine machine(state.range(0));
    Random random(1);
    wire::OffsetPut put;
    for (auto _ : state) {
        Machine::set(
            put,
            static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(state.range(0)))));
        benchmark::DoNotOptimize(machine.state->offset(put.group(), put.topic(), put.queueid()));
    }
}

void snapshot_and_load(benchmark::State& state) {
    for (auto _ : state) {
        const double before = anonymous_bytes();
        Machine machine(state.range(0));
        state.counters["bytes_an_offset"] =
            (anonymous_bytes() - before) / static_cast<double>(state.range(0));
        const auto begin = Steady::now();
        const wire::StateSnapshot snapshot =
            machine.state->snapshot([&] { return LogOffset(machine.end); });
        state.counters["snapshot_ms"] = seconds_since(begin) * 1e3;
        const auto save = Steady::now();
        must(save_snapshot(*machine.files, machine.scratch.path() / "state", snapshot));
        state.counters["save_ms"] = seconds_since(save) * 1e3;
        const auto load = Steady::now();
        const LoadedSnapshot loaded =
            must(load_snapshot(*machine.files, machine.scratch.path() / "state"));
        LogStateMachine fresh(*machine.topics);
        must(fresh.restore(loaded.snapshot));
        const double seconds = seconds_since(load);
        state.SetIterationTime(seconds);
        state.counters["load_ms"] = seconds * 1e3;
    }
}

BENCHMARK(queue_put)
    ->ArgNames({"queues", "puts"})
    ->Args({100, 20'000})
    ->Args({1, 10'000'000})
    ->Args({1'000, 10'000'000})
    ->Args({100'000, 10'000'000})
    ->Iterations(1)
    ->UseManualTime();
BENCHMARK(queue_put_after_flush)
    ->ArgNames({"queues", "puts"})
    ->Args({100, 20'000})
    ->Args({100'000, 4'000'000})
    ->Iterations(1)
    ->UseManualTime();
BENCHMARK(queue_read_32)->ArgName("queues")->Arg(100)->Arg(100'000);
BENCHMARK(open_and_flush)
    ->ArgName("queues")
    ->Arg(100)
    ->Arg(100'000)
    ->Iterations(1)
    ->UseManualTime();
BENCHMARK(key_put)->ArgName("puts")->Arg(20'000)->Arg(3'000'000)->Iterations(1)->UseManualTime();
BENCHMARK(key_find)->ArgName("keys")->Arg(20'000)->Arg(3'000'000);
BENCHMARK(offset_commit)
    ->ArgNames({"offsets", "changes"})
    ->Args({1'000, 1})
    ->Args({100'000, 1})
    ->Args({100'000, 100});
BENCHMARK(offset_find)->ArgName("offsets")->Arg(1'000)->Arg(100'000);
BENCHMARK(snapshot_and_load)
    ->ArgName("offsets")
    ->Arg(1'000)
    ->Arg(100'000)
    ->Iterations(1)
    ->UseManualTime();

}  // namespace
}  // namespace gantry::storage

BENCHMARK_MAIN();
