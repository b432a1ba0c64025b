// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/history/history.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <optional>

namespace gantry::chaos {
namespace {

constexpr std::array<std::string_view, 5> kOps{"send", "receive", "commit", "committed", "read"};
constexpr std::array<std::string_view, 3> kOutcomes{"ok", "fail", "unknown"};

template <std::size_t Count>
std::optional<std::size_t> index_of(const std::array<std::string_view, Count>& texts,
                                    std::string_view text) {
    for (std::size_t i = 0; i < Count; ++i) {
        if (texts[i] == text) {
            return i;
        }
    }
    return std::nullopt;
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
        const std::size_t end = std::min(line.find(' '), line.size());
        words.push_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

/// "-" leaves `value` as it is.
template <class T>
bool read_number(std::string_view text, T& value, int base = 10) {
    if (text == "-") {
        return true;
    }
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    return error == std::errc() && stop == end;
}

/// "name-12" or "name@12".
template <class T>
bool read_pair(std::string_view text, char between, std::uint32_t& name, T& value, Names& names) {
    if (text == "-") {
        return true;
    }
    const std::size_t at = text.rfind(between);
    if (at == std::string_view::npos || !read_number(text.substr(at + 1), value)) {
        return false;
    }
    name = names.number(text.substr(0, at));
    return true;
}

std::string number_or_dash(std::int64_t value) {
    return value < 0 ? "-" : std::to_string(value);
}

std::string hex(std::uint32_t value) {
    std::array<char, 8> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
    return {digits.data(), end};
}

}  // namespace

std::uint32_t Names::number(std::string_view name) {
    const auto found = numbers_.find(name);
    if (found != numbers_.end()) {
        return found->second;
    }
    const auto next = static_cast<std::uint32_t>(names_.size());
    names_.emplace_back(name);
    numbers_.emplace(name, next);
    return next;
}

std::string format(const Operation& it, const Names& names) {
    std::string line = std::to_string(it.invoked) + ' ' + std::to_string(it.returned) + ' ' +
                       names.name(it.process) + ' ';
    line += kOps.at(static_cast<std::size_t>(it.op));
    line += ' ' + (it.topic == 0 ? "-" : names.name(it.topic)) + ' ' + number_or_dash(it.queue) +
            ' ' +
            (it.producer == 0 ? "-" : names.name(it.producer) + '-' + std::to_string(it.counter)) +
            ' ' + hex(it.sum) + ' ';
    line += kOutcomes.at(static_cast<std::size_t>(it.outcome));
    line += ' ' + number_or_dash(it.offset) + ' ' + number_or_dash(it.epoch) + ' ' +
            (it.member == 0 ? "-" : names.name(it.member) + '@' + std::to_string(it.log_offset));
    return line;
}

Result<Operation> parse(std::string_view line, Names& names) {
    const std::vector<std::string_view> words = words_of(line);
    Operation it;
    constexpr std::size_t kWords = 12;
    if (words.size() != kWords) {
        return Error{Errc::kRefused,
                     std::to_string(words.size()) + " words, not " + std::to_string(kWords)};
    }
    const auto op = index_of(kOps, words[3]);
    const auto outcome = index_of(kOutcomes, words[8]);
    if (!op || !outcome || !read_number(words[0], it.invoked) ||
        !read_number(words[1], it.returned) || !read_number(words[5], it.queue) ||
        !read_pair(words[6], '-', it.producer, it.counter, names) ||
        !read_number(words[7], it.sum, 16) || !read_number(words[9], it.offset) ||
        !read_number(words[10], it.epoch) ||
        !read_pair(words[11], '@', it.member, it.log_offset, names)) {
        return Error{Errc::kRefused, "not a line of a history: " + std::string(line)};
    }
    it.process = names.number(words[2]);
    it.topic = words[4] == "-" ? 0 : names.number(words[4]);
    it.op = static_cast<Op>(*op);
    it.outcome = static_cast<Outcome>(*outcome);
    return it;
}

Status read_history(const std::filesystem::path& file, History& history) {
    std::ifstream in(file);
    if (!in) {
        return io_error(file.string(), errno);
    }
    std::string line;
    for (std::size_t number = 1; std::getline(in, line) && !in.eof(); ++number) {
        Result<Operation> parsed = parse(line, history.names);
        if (!parsed) {
            return Error{
                Errc::kRefused,
                file.string() + ":" + std::to_string(number) + ": " + parsed.error().detail};
        }
        history.operations.push_back(*parsed);
    }
    return ok();
}

std::int64_t now_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

Result<std::unique_ptr<HistoryFile>> HistoryFile::create(const std::filesystem::path& file) {
    std::FILE* const opened = std::fopen(file.c_str(), "we");
    if (opened == nullptr) {
        return io_error(file.string(), errno);
    }
    return std::make_unique<HistoryFile>(Private{}, opened);
}

HistoryFile::~HistoryFile() {
    std::fclose(file_);
}

std::uint32_t HistoryFile::number(std::string_view name) {
    const MutexLock lock(mutex_);
    return names_.number(name);
}

void HistoryFile::add(const Operation& operation) {
    const MutexLock lock(mutex_);
    const std::string line = format(operation, names_) + '\n';
    std::fwrite(line.data(), 1, line.size(), file_);
}

void HistoryFile::flush() {
    const MutexLock lock(mutex_);
    std::fflush(file_);
}

}  // namespace gantry::chaos
