// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace gantry {

/// Why a call failed. Each code says whether the message of a failed send may be stored, and
/// whether trying the same call again can help. docs/terms.md has the same table.
enum class Errc : std::uint8_t {
    kRefused,      ///< the request breaks a rule or a limit; stored: no; retry: no
    kNotFound,     ///< topic, queue, group, offset or message does not exist; stored: no; retry: no
    kDenied,       ///< permission missing; stored: no; retry: no
    kConflict,     ///< exists already, or a newer epoch or version does; stored: no; retry: no
    kUnsupported,  ///< the peer does not know this request; stored: no; retry: no
    kBusy,         ///< a limit on work in flight is reached; stored: no; retry: later
    kDiskFull,     ///< no space for the next segment; stored: no; retry: later
    kReadOnly,     ///< the store takes no writes (failed sync, slave); stored: no; retry: elsewhere
    kGone,         ///< peer unreachable or connection lost before sending; stored: no; retry: yes
    kTimeout,      ///< no answer by the deadline; stored: unknown; retry: may store twice
    kUnknown,      ///< connection lost after sending; stored: unknown; retry: may store twice
    kClosed,       ///< this object was closed; stored: no; retry: no
    kCorrupt,      ///< bytes from disk or network do not parse or fail a checksum; retry: no
    kIo,           ///< the operating system refused; detail has the errno text; retry: no
};

inline constexpr std::size_t kErrcCount = 14;

/// Stable lower-case name of a code, e.g. "disk_full".
std::string_view to_string(Errc code) noexcept;

/// A failure: its class for programs, and a text for people that names the object, the value and
/// the limit ("body 5242880 B > message_bytes_max 4194304 B").
struct [[nodiscard]] Error {
    Errc code = Errc::kRefused;
    std::string detail;
};

/// "kIo" with `what` and the text of `errno_value`.
Error io_error(std::string_view what, int errno_value);

/// "code: detail", for logs and terminals.
std::string to_string(const Error& error);

/// A value or an Error. Member names follow std::expected, which replaces it under C++23.
template <class T>
class [[nodiscard]] Result {
public:
    using value_type = T;

    // NOLINTNEXTLINE(google-explicit-constructor): converts like std::expected
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}

    // NOLINTNEXTLINE(google-explicit-constructor): converts like std::expected
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const noexcept { return state_.index() == 0; }

    explicit operator bool() const noexcept { return has_value(); }

    T& value() & { return std::get<0>(state_); }

    const T& value() const& { return std::get<0>(state_); }

    T&& value() && { return std::get<0>(std::move(state_)); }

    T& operator*() & { return *std::get_if<0>(&state_); }

    const T& operator*() const& { return *std::get_if<0>(&state_); }

    T* operator->() { return std::get_if<0>(&state_); }

    const T* operator->() const { return std::get_if<0>(&state_); }

    const Error& error() const& { return std::get<1>(state_); }

    Error&& error() && { return std::get<1>(std::move(state_)); }

    T value_or(T fallback) const& { return has_value() ? value() : std::move(fallback); }

private:
    std::variant<T, Error> state_;
};

/// The value of a call that succeeds without one.
struct Done {};

/// Success or an Error.
using Status = Result<Done>;

inline Status ok() {
    return Done{};
}

}  // namespace gantry

#define GANTRY_CONCAT_INNER(a, b) a##b
#define GANTRY_CONCAT(a, b) GANTRY_CONCAT_INNER(a, b)

/// Returns the error of `expr` from the enclosing function, if it has one.
#define GANTRY_TRY(expr)                                   \
    do {                                                   \
        if (auto gantry_status = (expr); !gantry_status) { \
            return std::move(gantry_status).error();       \
        }                                                  \
    } while (false)

#define GANTRY_ASSIGN_INNER(tmp, decl, expr) \
    auto tmp = (expr);                       \
    if (!tmp) {                              \
        return std::move(tmp).error();       \
    }                                        \
    decl = std::move(tmp).value()

/// Declares `decl` from the value of `expr`, or returns its error from the enclosing function.
#define GANTRY_ASSIGN_OR_RETURN(decl, expr) \
    GANTRY_ASSIGN_INNER(GANTRY_CONCAT(gantry_result_, __LINE__), decl, expr)
