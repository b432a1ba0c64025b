// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/result.h"
#include "filter/sql_program.h"

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace gantry::filter {

/// An SQL92 expression, compiled once and then asked of any number of messages. Rules and limits:
/// docs/guide/filters.md.
///
/// Threads   any; it never changes.
/// Errors    compile: kRefused, with position, what stands there, and the rule or limit.
class SqlFilter {
public:
    /// Of the text of an expression.
    static Result<std::shared_ptr<const SqlFilter>> compile(std::string_view expression);

    explicit SqlFilter(SqlProgram program) : program_(std::move(program)) {}

    /// What the expression says of a message with these properties, which are read where they lie.
    /// Allocates nothing; any bytes will do.
    Verdict evaluate(std::string_view properties) const noexcept {
        return program_.run(properties);
    }

private:
    SqlProgram program_;
};

/// Null: no SQL92 expression.
using SqlFilterPtr = std::shared_ptr<const SqlFilter>;

/// Expressions compiled so far, by their text: however many heartbeats and pulls carry one, it is
/// compiled once, and so is what does not compile.
///
/// Threads   any; one mutex inside.
/// Limits    kKept expressions; the one not asked for longest goes first. Who still uses it keeps
///           it.
class SqlFilters {
public:
    static constexpr std::size_t kKept = 128;

    explicit SqlFilters(bool is_enabled) : is_enabled_(is_enabled) {}

    /// kRefused: see SqlFilter. kUnsupported: filter.sql is off.
    Result<SqlFilterPtr> get(std::string_view expression);

    /// How many were compiled.
    std::size_t compiled() const;

private:
    struct Kept {
        std::string text;
        Result<SqlFilterPtr> filter;
    };

    const bool is_enabled_;
    mutable Mutex mutex_;
    std::list<Kept> kept_ GANTRY_GUARDED_BY(mutex_);  ///< last asked for first
    std::unordered_map<std::string_view, std::list<Kept>::iterator> by_text_
        GANTRY_GUARDED_BY(mutex_);
    std::size_t compiled_ GANTRY_GUARDED_BY(mutex_) = 0;
};

}  // namespace gantry::filter
