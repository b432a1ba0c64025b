// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace gantry::harness {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GANTRY_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GANTRY_SANITIZED true
#endif
#endif
#ifndef GANTRY_SANITIZED
#define GANTRY_SANITIZED false
#endif

/// Whether programs are several times as slow as those users run: a test of volume takes less of
/// it then. What a test asserts never depends on this.
inline constexpr bool kIsSanitized = GANTRY_SANITIZED;

#undef GANTRY_SANITIZED

}  // namespace gantry::harness
