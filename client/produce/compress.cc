// SPDX-License-Identifier: Apache-2.0
#include "client/produce/compress.h"

#include "client/core/body_methods.h"
#include "protocol/wire/record.h"

#include <lz4frame.h>
#include <utility>
#include <zlib.h>
#include <zstd.h>

namespace gantry::client {
namespace {

using Method = Compression::Method;

struct Levels {
    std::int32_t least = 0;
    std::int32_t most = 0;
    const char* name = "";
};

Levels levels_of(Method method) noexcept {
    switch (method) {
        case Method::kZlib:
            return {1, 9, "zlib"};
        case Method::kLz4:
            return {0, 12, "LZ4"};
        case Method::kZstd:
            return {1, 19, "zstd"};
        case Method::kNone:
            break;
    }
    return {0, 0, "none"};
}

// Each returns the number of bytes it wrote to `out`, 0 when they do not fit.

std::size_t zlib(const std::string& body, std::string& out, std::int32_t level) {
    uLongf bytes = out.size();
    const int code = ::compress2(reinterpret_cast<Bytef*>(out.data()),
                                 &bytes,
                                 reinterpret_cast<const Bytef*>(body.data()),
                                 body.size(),
                                 level < 0 ? Z_DEFAULT_COMPRESSION : level);
    return code == Z_OK ? bytes : 0;
}

std::size_t lz4(const std::string& body, std::string& out, std::int32_t level) {
    LZ4F_preferences_t preferences{};
    preferences.compressionLevel = level < 0 ? 0 : level;
    preferences.frameInfo.contentSize = body.size();
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;  // Java's reader takes no others
    out.resize(LZ4F_compressFrameBound(body.size(), &preferences));
    const std::size_t bytes =
        LZ4F_compressFrame(out.data(), out.size(), body.data(), body.size(), &preferences);
    return LZ4F_isError(bytes) != 0U ? 0 : bytes;
}

std::size_t zstd(const std::string& body, std::string& out, std::int32_t level) {
    const std::size_t bytes = ZSTD_compress(
        out.data(), out.size(), body.data(), body.size(), level < 0 ? ZSTD_CLEVEL_DEFAULT : level);
    return ZSTD_isError(bytes) != 0U ? 0 : bytes;
}

}  // namespace

Status check_compression(const Compression& compression) {
    if (compression.method == Method::kNone || compression.level == -1) {
        return ok();
    }
    const Levels levels = levels_of(compression.method);
    if (compression.level < levels.least || compression.level > levels.most) {
        return Error{Errc::kRefused,
                     "compression.level " + std::to_string(compression.level) + " is not within " +
                         std::to_string(levels.least) + " to " + std::to_string(levels.most) +
                         " of " + levels.name};
    }
    return ok();
}

std::int32_t compress_body(std::string& body, const Compression& compression) {
    if (compression.method == Method::kNone || body.empty() ||
        body.size() < compression.body_bytes_min) {
        return 0;
    }
    std::string out(body.size(), '\0');  // what does not fit is no smaller
    std::size_t bytes = 0;
    std::int32_t method = 0;
    switch (compression.method) {
        case Method::kZlib:
            bytes = zlib(body, out, compression.level);
            method = kMethodZlib;
            break;
        case Method::kLz4:
            bytes = lz4(body, out, compression.level);
            method = kMethodLz4;
            break;
        case Method::kZstd:
            bytes = zstd(body, out, compression.level);
            method = kMethodZstd;
            break;
        case Method::kNone:
            break;
    }
    if (bytes == 0 || bytes >= body.size()) {
        return 0;
    }
    out.resize(bytes);
    body = std::move(out);
    return wire::sys_flag::kCompressed | method;
}

}  // namespace gantry::client
