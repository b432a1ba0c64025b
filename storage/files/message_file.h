// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"

#include <cstdint>
#include <filesystem>

namespace google::protobuf {
class MessageLite;
}

namespace gantry::storage {

/// A file that holds one message and is replaced as a whole.
///
///   u32 magic | u32 version, 1 | the message | u64 XXH3 of everything before    all big-endian
///
/// Makes it durable. Blocks. kRefused: the file would be larger than 1 GiB. Errors of the disk.
Status save_message(FileSystem& files,
                    const std::filesystem::path& path,
                    std::uint32_t magic,
                    const google::protobuf::MessageLite& message);

/// Reads what save_message wrote. kCorrupt: the file is damaged, or another one's. kNotFound, kIo:
/// it cannot be read. Errors name it.
Status load_message(FileSystem& files,
                    const std::filesystem::path& path,
                    std::uint32_t magic,
                    google::protobuf::MessageLite& message);

}  // namespace gantry::storage
