// SPDX-License-Identifier: Apache-2.0
#include "storage/files/message_file.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <string>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kHashBytes = 8;
constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 30U;

Error corrupt(const std::filesystem::path& path, const std::string& what) {
    return {Errc::kCorrupt, path.string() + ": " + what};
}

}  // namespace

Status save_message(FileSystem& files,
                    const std::filesystem::path& path,
                    std::uint32_t magic,
                    const google::protobuf::MessageLite& message) {
    std::string file(kHeaderBytes, '\0');
    auto* const header = reinterpret_cast<std::byte*>(file.data());
    store_be(header, magic);
    store_be(header + 4, kVersion);
    if (!message.AppendToString(&file) || file.size() + kHashBytes > kFileBytesMax) {
        return Error{Errc::kRefused,
                     path.string() + " of " + std::to_string(message.ByteSizeLong()) + " B > " +
                         std::to_string(kFileBytesMax) + " B"};
    }
    const std::uint64_t hash = xxh3(as_bytes(file));
    file.resize(file.size() + kHashBytes);
    store_be(reinterpret_cast<std::byte*>(file.data()) + file.size() - kHashBytes, hash);
    return write_file_atomically(files, path, as_bytes(file));
}

Status load_message(FileSystem& files,
                    const std::filesystem::path& path,
                    std::uint32_t magic,
                    google::protobuf::MessageLite& message) {
    GANTRY_ASSIGN_OR_RETURN(const std::string text, read_file(files, path, kFileBytesMax));
    const Bytes file = as_bytes(text);
    if (file.size() < kHeaderBytes + kHashBytes) {
        return corrupt(path, std::to_string(file.size()) + " B are too few");
    }
    const Bytes hashed = file.first(file.size() - kHashBytes);
    if (load_be<std::uint64_t>(file.data() + hashed.size()) != xxh3(hashed)) {
        return corrupt(path, "its checksum does not match");
    }
    if (load_be<std::uint32_t>(file.data()) != magic ||
        load_be<std::uint32_t>(file.data() + 4) != kVersion) {
        return corrupt(path, "unknown format or version");
    }
    const Bytes bytes = hashed.subspan(kHeaderBytes);
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return corrupt(path, "it does not parse");
    }
    return ok();
}

}  // namespace gantry::storage
