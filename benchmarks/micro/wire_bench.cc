// SPDX-License-Identifier: Apache-2.0
// Time per message of the wire codecs on the paths of every message: headers of the codecs, typed
// fields, records.
#include "protocol/wire/header.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/record.h"

#include <benchmark/benchmark.h>
#include <string>

namespace gantry::wire {
namespace {

constexpr std::string_view kTopic = "benchmark-topic-of-a-usual-length";

SendRecordsRequest native_send() {
    SendRecordsRequest fields;
    fields.set_topic(std::string(kTopic));
    fields.set_queueid(7);
    fields.set_count(1);
    fields.set_haskeys(true);
    return fields;
}

SendMessageRequest stock_send() {
    SendMessageRequest fields;
    fields.set_producergroup("benchmark-producers");
    fields.set_topic(std::string(kTopic));
    fields.set_defaulttopic("TBW102");
    fields.set_defaulttopicqueuenums(4);
    fields.set_queueid(7);
    fields.set_sysflag(0);
    fields.set_borntimestamp(1'700'000'000'000);
    fields.set_flag(0);
    fields.set_properties(
        "KEYS\x01order-4711\x02UNIQ_KEY\x01"
        "7F00000164535FFD2B2766E83CCA0000\x02WAIT\x01true\x02TAGS\x01TagA");
    fields.set_reconsumetimes(0);
    fields.set_unitmode(false);
    fields.set_maxreconsumetimes(0);
    fields.set_batch(false);
    return fields;
}

std::string frame_with(Codec codec, std::int32_t code, const google::protobuf::Message& fields) {
    std::string bytes;
    append_frame_head(
        bytes, codec, {.code = code, .opaque = 123'456, .fields = &fields, .short_names = true}, 0);
    return bytes;
}

void encode_native_send(benchmark::State& state) {
    const SendRecordsRequest fields = native_send();
    const HeaderToSend header = {.code = 10001, .opaque = 123'456, .fields = &fields};
    std::string out;
    for (auto _ : state) {
        out.clear();
        append_frame_head(out, Codec::kNative, header, 1024);
        benchmark::DoNotOptimize(out.data());
    }
}

void decode_native_send(benchmark::State& state) {
    const std::string bytes = frame_with(Codec::kNative, 10001, native_send());
    Header header;
    for (auto _ : state) {
        const auto frame = find_frame(as_bytes(bytes), {});
        SendRecordsRequest fields;
        if (!decode_header(**frame, header) || !decode_fields(header, fields)) {
            state.SkipWithError("does not decode");
        }
        benchmark::DoNotOptimize(fields.queueid());
    }
}

void decode_native_send_reusing_fields(benchmark::State& state) {
    const std::string bytes = frame_with(Codec::kNative, 10001, native_send());
    Header header;
    SendRecordsRequest fields;
    for (auto _ : state) {
        const auto frame = find_frame(as_bytes(bytes), {});
        if (!decode_header(**frame, header) || !decode_fields(header, fields)) {
            state.SkipWithError("does not decode");
        }
        benchmark::DoNotOptimize(fields.queueid());
    }
}

void decode_native_header_only(benchmark::State& state) {
    const std::string bytes = frame_with(Codec::kNative, 10001, native_send());
    Header header;
    for (auto _ : state) {
        const auto frame = find_frame(as_bytes(bytes), {});
        if (!decode_header(**frame, header)) {
            state.SkipWithError("does not decode");
        }
        benchmark::DoNotOptimize(header.fields.data());
    }
}

template <Codec kCodec>
void decode_stock_send(benchmark::State& state) {
    const std::string bytes = frame_with(kCodec, 310, stock_send());
    Header header;
    for (auto _ : state) {
        const auto frame = find_frame(as_bytes(bytes), {});
        SendMessageRequest fields;
        if (!decode_header(**frame, header) || !decode_fields(header, fields)) {
            state.SkipWithError("does not decode");
        }
        benchmark::DoNotOptimize(fields.queueid());
    }
}

template <Codec kCodec>
void encode_stock_answer(benchmark::State& state) {
    SendMessageResponse fields;
    fields.set_msgid("7F00000100002A9F0000000000000000");
    fields.set_queueid(7);
    fields.set_queueoffset(123'456'789);
    const HeaderToSend header = {.opaque = 123'456, .is_response = true, .fields = &fields};
    std::string out;
    for (auto _ : state) {
        out.clear();
        append_frame_head(out, kCodec, header, 0);
        benchmark::DoNotOptimize(out.data());
    }
}

Record record_of(std::string_view body) {
    return {.queue_id = 7,
            .born_ms = 1'700'000'000'000,
            .store_ms = 1'700'000'000'000,
            .body = as_bytes(body),
            .topic = kTopic,
            .properties = "KEYS\x01order-4711\x02TAGS\x01TagA"};
}

void encode_one_record(benchmark::State& state) {
    const std::string body(static_cast<std::size_t>(state.range(0)), 'b');
    const Record record = record_of(body);
    std::string out(record_bytes(record), '\0');
    for (auto _ : state) {
        encode_record(record, {reinterpret_cast<std::byte*>(out.data()), out.size()});
        benchmark::DoNotOptimize(out.data());
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

void parse_one_record(benchmark::State& state) {
    const std::string body(1024, 'b');
    const Record record = record_of(body);
    std::string bytes(record_bytes(record), '\0');
    encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    for (auto _ : state) {
        const auto parsed = parse_record(as_bytes(bytes));
        benchmark::DoNotOptimize(parsed->topic.data());
        benchmark::ClobberMemory();
    }
}

void walk_records(benchmark::State& state) {
    const std::string body(100, 'b');
    const Record record = record_of(body);
    const std::size_t size = record_bytes(record);
    constexpr std::size_t kCount = 100;
    std::string bytes(size * kCount, '\0');
    for (std::size_t i = 0; i < kCount; ++i) {
        encode_record(record, {reinterpret_cast<std::byte*>(bytes.data() + i * size), size});
    }
    for (auto _ : state) {
        std::size_t topic_bytes = 0;
        const Status walked =
            for_each_record(as_bytes(bytes), [&](const std::byte*, const Record& each) {
                topic_bytes += each.topic.size();
                return ok();
            });
        benchmark::DoNotOptimize(topic_bytes);
        if (!walked) {
            state.SkipWithError("does not parse");
        }
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kCount));
}

void patch_one_record(benchmark::State& state) {
    const Record record = record_of("body");
    std::string bytes(record_bytes(record), '\0');
    encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    StorePatch patch;
    for (auto _ : state) {
        patch.queue_offset += 1;
        patch_record(reinterpret_cast<std::byte*>(bytes.data()), patch);
        benchmark::ClobberMemory();
    }
}

BENCHMARK(encode_native_send);
BENCHMARK(decode_native_send);
BENCHMARK(decode_native_send_reusing_fields);
BENCHMARK(decode_native_header_only);
BENCHMARK_TEMPLATE(decode_stock_send, Codec::kJson);
BENCHMARK_TEMPLATE(decode_stock_send, Codec::kBinary);
BENCHMARK_TEMPLATE(encode_stock_answer, Codec::kJson);
BENCHMARK_TEMPLATE(encode_stock_answer, Codec::kBinary);
BENCHMARK(encode_one_record)->Arg(100)->Arg(1024);
BENCHMARK(parse_one_record);
BENCHMARK(walk_records);
BENCHMARK(patch_one_record);

}  // namespace
}  // namespace gantry::wire

BENCHMARK_MAIN();
