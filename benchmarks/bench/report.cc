// SPDX-License-Identifier: Apache-2.0
#include "bench/report.h"

#include <nlohmann/json.hpp>

#include <cstdio>

namespace gantry::bench {
namespace {

double micros(const Histogram& latency, double share) {
    return static_cast<double>(latency.quantile(share)) / 1e3;
}

double per_second(std::uint64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

std::string hex(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
    return text;
}

std::string line(const char* label, const std::string& value) {
    char text[256];
    std::snprintf(text, sizeof(text), "  %-16s %s\n", label, value.c_str());
    return text;
}

std::string number(double value, const char* unit) {
    char text[64];
    std::snprintf(text, sizeof(text), value < 100 ? "%.1f %s" : "%.0f %s", value, unit);
    return text;
}

std::string quantiles(const Histogram& latency) {
    return "p50 " + number(micros(latency, 0.5), "us") + ", p90 " +
           number(micros(latency, 0.9), "us") + ", p99 " + number(micros(latency, 0.99), "us") +
           ", p99.9 " + number(micros(latency, 0.999), "us") + ", max " +
           number(static_cast<double>(latency.max()) / 1e3, "us");
}

nlohmann::ordered_json json_quantiles(const Histogram& latency) {
    return {{"p50", micros(latency, 0.5)},
            {"p90", micros(latency, 0.9)},
            {"p99", micros(latency, 0.99)},
            {"p999", micros(latency, 0.999)},
            {"max", static_cast<double>(latency.max()) / 1e3}};
}

}  // namespace

bool Report::good() const noexcept {
    return lost == 0 && lost_told == 0 && out_of_order == 0 && offset_gaps == 0 && failed == 0 &&
           messages > 0 &&
           (checksum_expected == 0 || checksum == checksum_expected || unknown != 0);
}

std::string text_of(const Options& options, const Report& report) {
    std::string text = options.command + " " + options.topic + "\n";
    text += line("messages", std::to_string(report.messages));
    text += line("seconds", number(report.seconds, "s"));
    text += line("rate", number(per_second(report.messages, report.seconds), "msg/s"));
    text += line("throughput", number(per_second(report.bytes, report.seconds) / 1e6, "MB/s"));
    if (report.latency.total() != 0) {
        text += line("latency", quantiles(report.latency));
    }
    if (report.send_latency.total() != 0) {
        text += line("send latency", quantiles(report.send_latency));
    }
    text += line("lost", std::to_string(report.lost));
    text += line("lost, told", std::to_string(report.lost_told));
    text += line("duplicates", std::to_string(report.duplicates));
    text += line("out of order", std::to_string(report.out_of_order));
    text += line("offset gaps", std::to_string(report.offset_gaps));
    text += line("failed sends", std::to_string(report.failed));
    text += line("unknown sends", std::to_string(report.unknown));
    text += line("checksum", hex(report.checksum));
    if (!report.first_error.empty()) {
        text += line("first error", report.first_error);
    }
    text += line("verdict", report.good() ? "ok" : "FAILED");
    return text;
}

std::string json_of(const Options& options, const Report& report) {
    const nlohmann::ordered_json json = {
        {"command", options.command},
        {"topic", options.topic},
        {"size", options.size_bytes},
        {"producers", options.producers},
        {"in_flight", options.in_flight},
        {"batch", options.batch_bytes},
        {"rate", options.rate},
        {"spin_us", options.spin_us},
        {"messages", report.messages},
        {"messages_per_second", per_second(report.messages, report.seconds)},
        {"bytes_per_second", per_second(report.bytes, report.seconds)},
        {"seconds", report.seconds},
        {"latency_us", json_quantiles(report.latency)},
        {"send_latency_us", json_quantiles(report.send_latency)},
        {"acked", report.acked},
        {"lost", report.lost},
        {"lost_told", report.lost_told},
        {"duplicates", report.duplicates},
        {"out_of_order", report.out_of_order},
        {"offset_gaps", report.offset_gaps},
        {"failed", report.failed},
        {"unknown", report.unknown},
        {"checksum", hex(report.checksum)},
        {"first_error", report.first_error},
        {"ok", report.good()},
    };
    return json.dump() + "\n";
}

}  // namespace gantry::bench
