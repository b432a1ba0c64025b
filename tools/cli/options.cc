// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <cxxopts.hpp>

#include <utility>

namespace gantry::cli {

struct Options::Described {
    cxxopts::Options options;
};

struct Given::Parsed {
    cxxopts::ParseResult result;
};

OptionValue::OptionValue() : taker_(cxxopts::value<bool>()) {}

OptionValue OptionValue::default_value(std::string_view text) && {
    return OptionValue(taker_->default_value(std::string(text)));
}

OptionValue OptionValue::implicit_value(std::string_view text) && {
    return OptionValue(taker_->implicit_value(std::string(text)));
}

template <class T>
OptionValue value() {
    return OptionValue(cxxopts::value<T>());
}

template OptionValue value<std::string>();
template OptionValue value<std::vector<std::string>>();
template OptionValue value<std::int32_t>();
template OptionValue value<std::uint32_t>();
template OptionValue value<std::int64_t>();
template OptionValue value<std::uint64_t>();

OptionGroup& OptionGroup::operator()(const std::string& names,
                                     const std::string& text,
                                     const OptionValue& value) {
    options_.described_->options.add_options(name_)(names, text, value.taker_);
    return *this;
}

std::size_t Given::count(const std::string& name) const {
    return parsed_->result.count(name);
}

Given::Value Given::operator[](const std::string& name) const {
    return Value(&parsed_->result[name]);
}

template <class T>
const T& Given::Value::as() const {
    return static_cast<const cxxopts::OptionValue*>(value_)->as<T>();
}

template const std::string& Given::Value::as<std::string>() const;
template const std::vector<std::string>& Given::Value::as<std::vector<std::string>>() const;
template const std::int32_t& Given::Value::as<std::int32_t>() const;
template const std::uint32_t& Given::Value::as<std::uint32_t>() const;
template const std::int64_t& Given::Value::as<std::int64_t>() const;
template const std::uint64_t& Given::Value::as<std::uint64_t>() const;

Options::Options(const std::string& program, const std::string& purpose)
    : described_(std::make_unique<Described>(Described{cxxopts::Options(program, purpose)})) {}

Options::~Options() = default;
Options::Options(Options&& other) noexcept = default;

OptionGroup Options::add_options(const std::string& group) {
    return OptionGroup(*this, group);
}

void Options::usage(const std::string& text) {
    described_->options.custom_help(text);
    described_->options.positional_help("");
}

void Options::positional(const std::string& name) {
    described_->options.parse_positional({name});
}

Result<Given> Options::parse(int argc, const char* const* argv) {
    try {
        return Given(std::make_shared<const Given::Parsed>(
            Given::Parsed{described_->options.parse(argc, argv)}));
    } catch (const cxxopts::exceptions::exception& e) {
        return Error{Errc::kRefused, e.what()};
    }
}

std::string Options::help(const std::vector<std::string>& groups) const {
    return described_->options.help(groups);
}

}  // namespace gantry::cli
