// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/check.h"

#include <concepts>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace gantry {

template <class Signature>
class UniqueFunction;

/// std::function for move-only callables (std::move_only_function, from C++23). Callables up to 48
/// bytes live inside it: no allocation for the usual completion.
template <class R, class... Args>
class UniqueFunction<R(Args...)> {
public:
    UniqueFunction() = default;

    template <class F>

    requires(!std::same_as<std::decay_t<F>, UniqueFunction> &&
             std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
        // Converts like std::function; the constraint keeps it off copies and moves.
        // NOLINTNEXTLINE(google-explicit-constructor,bugprone-forwarding-reference-overload)
        UniqueFunction(F&& callable) {
        using Callable = std::decay_t<F>;
        if constexpr (kFitsInline<Callable>) {
            ::new (static_cast<void*>(storage_)) Callable(std::forward<F>(callable));
            ops_ = &kInlineOps<Callable>;
        } else {
            ::new (static_cast<void*>(storage_)) Callable*(new Callable(std::forward<F>(callable)));
            ops_ = &kHeapOps<Callable>;
        }
    }

    UniqueFunction(UniqueFunction&& other) noexcept { take(other); }

    UniqueFunction& operator=(UniqueFunction&& other) noexcept {
        if (this != &other) {
            reset();
            take(other);
        }
        return *this;
    }

    UniqueFunction(const UniqueFunction&) = delete;
    UniqueFunction& operator=(const UniqueFunction&) = delete;

    ~UniqueFunction() { reset(); }

    explicit operator bool() const noexcept { return ops_ != nullptr; }

    R operator()(Args... args) {
        GANTRY_ASSERT(ops_ != nullptr);
        return ops_->call(storage_, std::forward<Args>(args)...);
    }

    /// Destroys the callable and is empty afterwards; not from inside the call.
    void reset() noexcept {
        if (ops_ != nullptr) {
            std::exchange(ops_, nullptr)->destroy(storage_);
        }
    }

private:
    static constexpr std::size_t kInlineBytes = 48;

    struct Ops {
        R (*call)(void*, Args&&...);
        void (*move)(void* from, void* to) noexcept;
        void (*destroy)(void*) noexcept;
    };

    template <class F>
    static constexpr bool kFitsInline =
        sizeof(F) <= kInlineBytes &&
        alignof(F) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<F>;

    template <class F>
    static F& inline_ref(void* at) noexcept {
        return *std::launder(static_cast<F*>(at));
    }

    template <class F>
    static F*& heap_ref(void* at) noexcept {
        return *std::launder(static_cast<F**>(at));
    }

    template <class F>
    static constexpr Ops kInlineOps = {[](void* at, Args&&... args) -> R {
                                           return inline_ref<F>(at)(std::forward<Args>(args)...);
                                       },
                                       [](void* from, void* to) noexcept {
                                           ::new (to) F(std::move(inline_ref<F>(from)));
                                           inline_ref<F>(from).~F();
                                       },
                                       [](void* at) noexcept { inline_ref<F>(at).~F(); }};

    template <class F>
    static constexpr Ops kHeapOps = {
        [](void* at, Args&&... args) -> R {
            return (*heap_ref<F>(at))(std::forward<Args>(args)...);
        },
        [](void* from, void* to) noexcept { ::new (to) F*(heap_ref<F>(from)); },
        [](void* at) noexcept { delete heap_ref<F>(at); }};

    void take(UniqueFunction& other) noexcept {
        if (other.ops_ != nullptr) {
            other.ops_->move(other.storage_, storage_);
            ops_ = std::exchange(other.ops_, nullptr);
        }
    }

    alignas(std::max_align_t) std::byte storage_[kInlineBytes];
    const Ops* ops_ = nullptr;
};

}  // namespace gantry
