// SPDX-License-Identifier: Apache-2.0
// What an SQL92 filter costs: to compile, and per message.
#include "broker/filter/record_sieve.h"
#include "filter/sql_filter.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <array>
#include <benchmark/benchmark.h>
#include <string>

namespace gantry::filter {
namespace {

constexpr std::array kExpressions{
    "price = 7",
    "price BETWEEN 5 AND 9 AND country IN ('FR', 'DE', 'IT')",
    "score > 0.5",
    "missing IS NOT NULL",
    "name STARTSWITH 'customer-1' AND (TAGS = 'TagB' OR price > 90) AND NOT (vip = TRUE)",
};

std::string properties_of_message(int number) {
    std::string properties;
    const auto add = [&](std::string_view name, const std::string& value) {
        static_cast<void>(wire::append_property(properties, name, value));
    };
    add("TAGS", number % 2 == 0 ? "TagA" : "TagB");
    add("UNIQ_KEY", "7F0000010B2C18B4AAC2" + std::to_string(100'000'000'000 + number));
    add("country", number % 3 == 0 ? "FR" : "US");
    add("name", "customer-" + std::to_string(number));
    add("price", std::to_string(number % 100));
    add("score", "0." + std::to_string(number % 1'000));
    return properties;
}

void compile(benchmark::State& state) {
    const std::string expression = kExpressions[static_cast<std::size_t>(state.range(0))];
    for (auto _ : state) {
        benchmark::DoNotOptimize(SqlFilter::compile(expression));
    }
    state.SetLabel(expression);
}

void evaluate(benchmark::State& state) {
    const std::string expression = kExpressions[static_cast<std::size_t>(state.range(0))];
    const SqlFilterPtr filter = SqlFilter::compile(expression).value();
    std::array<std::string, 100> messages;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        messages[i] = properties_of_message(static_cast<int>(i));
    }
    std::size_t next = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(filter->evaluate(messages[next]));
        next = next + 1 == messages.size() ? 0 : next + 1;
    }
    state.SetLabel(expression);
    state.SetItemsProcessed(state.iterations());
}

/// As a pull does it: 1,000 records of a run in memory, one in a hundred kept.
void sieve(benchmark::State& state) {
    constexpr int kRecords = 1'000;
    const std::string body(static_cast<std::size_t>(state.range(0)), 'b');
    std::string bytes;
    for (int i = 0; i < kRecords; ++i) {
        const std::string properties = properties_of_message(i);
        wire::Record record;
        record.topic = "topic";
        record.body = as_bytes(body);
        record.properties = properties;
        const std::size_t at = bytes.size();
        bytes.resize(at + wire::record_bytes(record));
        wire::encode_record(record,
                            {reinterpret_cast<std::byte*>(bytes.data() + at), bytes.size() - at});
    }
    storage::ReadResult found;
    found.runs.emplace_back();
    found.runs.back().memory = as_bytes(bytes);
    found.runs.back().length = bytes.size();
    const SqlFilterPtr filter = SqlFilter::compile(kExpressions[0]).value();
    storage::ReadRequest limits;
    limits.bytes_max = 1U << 30U;
    for (auto _ : state) {
        storage::ReadResult kept;
        broker::RecordSieve sieve(*filter, limits, kept);
        benchmark::DoNotOptimize(sieve.take(found));
    }
    state.SetItemsProcessed(state.iterations() * kRecords);
}

BENCHMARK(compile)->DenseRange(0, kExpressions.size() - 1);
BENCHMARK(evaluate)->DenseRange(0, kExpressions.size() - 1);
BENCHMARK(sieve)->Arg(100)->Arg(1'024)->Arg(16'384);

}  // namespace
}  // namespace gantry::filter

BENCHMARK_MAIN();
