// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cxxopts {
class Value;
}

namespace gantry::cli {

/// What an option takes besides its name: nothing, or value<T>().
class OptionValue {
public:
    OptionValue();

    explicit OptionValue(std::shared_ptr<cxxopts::Value> taker) noexcept
        : taker_(std::move(taker)) {}

    /// The value of an option that is not given.
    OptionValue default_value(std::string_view text) &&;
    /// The value of an option that is given without one.
    OptionValue implicit_value(std::string_view text) &&;

private:
    friend class OptionGroup;
    std::shared_ptr<cxxopts::Value> taker_;
};

/// A text, texts, or a number of 32 or 64 bits.
template <class T>
OptionValue value();

class Options;

/// Takes the options of a group one after the other: group("n,name", "what it is", value<T>())(…).
class OptionGroup {
public:
    /// One more: "n,name", what it is, what it takes.
    OptionGroup& operator()(const std::string& names,
                            const std::string& text,
                            const OptionValue& value = OptionValue());

private:
    friend class Options;

    OptionGroup(Options& options, std::string name) : options_(options), name_(std::move(name)) {}

    Options& options_;
    std::string name_;
};

/// Options as they were given. Copies share what was parsed.
class Given {
public:
    /// One of them.
    class Value {
    public:
        /// Its value; it was given or has a default, and T is the type it was described with.
        template <class T>
        const T& as() const;

    private:
        friend class Given;

        explicit Value(const void* value) noexcept : value_(value) {}

        const void* value_;
    };

    /// How often it was given.
    std::size_t count(const std::string& name) const;
    /// That option.
    Value operator[](const std::string& name) const;

private:
    friend class Options;
    struct Parsed;

    explicit Given(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}

    std::shared_ptr<const Parsed> parsed_;
};

/// The options of one command. A wall around cxxopts, which takes long to compile.
class Options {
public:
    Options(const std::string& program, const std::string& purpose);
    ~Options();
    Options(Options&& other) noexcept;
    Options(const Options&) = delete;
    Options& operator=(const Options&) = delete;

    /// Options of a group of --help.
    OptionGroup add_options(const std::string& group = "");
    /// What --help shows behind the program's name.
    void usage(const std::string& text);
    /// The option that takes what is no option.
    void positional(const std::string& name);
    /// kRefused: an unknown option, a missing or wrong value.
    Result<Given> parse(int argc, const char* const* argv);
    /// The text of --help.
    std::string help(const std::vector<std::string>& groups) const;

private:
    friend class OptionGroup;
    struct Described;
    std::unique_ptr<Described> described_;
};

}  // namespace gantry::cli
