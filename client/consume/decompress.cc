// SPDX-License-Identifier: Apache-2.0
#include "client/consume/decompress.h"

#include "client/core/body_methods.h"

#define ZLIB_CONST
#include <algorithm>
#include <lz4frame.h>
#include <memory>
#include <string_view>
#include <zlib.h>
#include <zstd.h>

namespace gantry::client {
namespace {

constexpr std::size_t kBodyBytesMax = std::size_t{64} << 20U;
constexpr std::size_t kStepBytes = std::size_t{64} << 10U;

Error corrupt(std::string_view method, std::string_view why) {
    return Error{Errc::kCorrupt,
                 "compressed body (" + std::string(method) + "): " + std::string(why)};
}

/// Makes room for one more step behind `used` bytes; false at the limit.
bool grow(std::string& out, std::size_t used) {
    if (used >= kBodyBytesMax) {
        return false;
    }
    out.resize(std::min(kBodyBytesMax, std::max(used * 2, used + kStepBytes)));
    return true;
}

Result<std::string> decompress_zlib(Bytes body) {
    z_stream stream{};
    if (::inflateInit(&stream) != Z_OK) {
        return Error{Errc::kBusy, "no memory to decompress a body"};
    }
    const std::unique_ptr<z_stream, decltype(&::inflateEnd)> owned(&stream, &::inflateEnd);
    stream.next_in = reinterpret_cast<const Bytef*>(body.data());
    stream.avail_in = static_cast<uInt>(body.size());
    std::string out;
    std::size_t used = 0;
    int code = Z_OK;
    while (code == Z_OK) {
        if (!grow(out, used)) {
            return corrupt("zlib", "larger than 64 MiB");
        }
        stream.next_out = reinterpret_cast<Bytef*>(out.data() + used);
        stream.avail_out = static_cast<uInt>(out.size() - used);
        code = ::inflate(&stream, Z_NO_FLUSH);
        used = out.size() - stream.avail_out;
    }
    if (code != Z_STREAM_END) {
        return corrupt("zlib", stream.msg == nullptr ? "cut off" : stream.msg);
    }
    out.resize(used);
    return out;
}

Result<std::string> decompress_lz4(Bytes body) {
    LZ4F_dctx* context = nullptr;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) != 0U) {
        return Error{Errc::kBusy, "no memory to decompress a body"};
    }
    const std::unique_ptr<LZ4F_dctx, decltype(&LZ4F_freeDecompressionContext)> owned(
        context, &LZ4F_freeDecompressionContext);
    std::string out;
    std::size_t used = 0;
    std::size_t hint = 1;
    while (hint != 0) {
        if (!grow(out, used)) {
            return corrupt("LZ4", "larger than 64 MiB");
        }
        std::size_t room = out.size() - used;
        std::size_t taken = body.size();
        hint = LZ4F_decompress(context, out.data() + used, &room, body.data(), &taken, nullptr);
        if (LZ4F_isError(hint) != 0U) {
            return corrupt("LZ4", LZ4F_getErrorName(hint));
        }
        used += room;
        body = body.subspan(taken);
        if (hint != 0 && taken == 0 && room == 0) {
            return corrupt("LZ4", "cut off");
        }
    }
    out.resize(used);
    return out;
}

Result<std::string> decompress_zstd(Bytes body) {
    const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(),
                                                                            &ZSTD_freeDStream);
    if (stream == nullptr) {
        return Error{Errc::kBusy, "no memory to decompress a body"};
    }
    ZSTD_inBuffer in{body.data(), body.size(), 0};
    std::string out;
    std::size_t used = 0;
    std::size_t hint = 1;
    while (hint != 0) {
        if (!grow(out, used)) {
            return corrupt("zstd", "larger than 64 MiB");
        }
        ZSTD_outBuffer room{out.data() + used, out.size() - used, 0};
        const std::size_t before = in.pos;
        hint = ZSTD_decompressStream(stream.get(), &room, &in);
        if (ZSTD_isError(hint) != 0U) {
            return corrupt("zstd", ZSTD_getErrorName(hint));
        }
        used += room.pos;
        if (hint != 0 && in.pos == before && room.pos == 0) {
            return corrupt("zstd", "cut off");
        }
    }
    out.resize(used);
    return out;
}

}  // namespace

Result<std::string> decompress_body(Bytes body, std::int32_t sys_flag) {
    switch (sys_flag & kMethodMask) {
        case kMethodZlibOld:
        case kMethodZlib:
            return decompress_zlib(body);
        case kMethodLz4:
            return decompress_lz4(body);
        case kMethodZstd:
            return decompress_zstd(body);
        default:
            return Error{Errc::kUnsupported,
                         "compression method " + std::to_string(sys_flag & kMethodMask)};
    }
}

}  // namespace gantry::client
