// SPDX-License-Identifier: Apache-2.0
#include "storage/index/extent_files.h"

#include "common/checksum.h"
#include "common/failpoint/failpoint.h"
#include "common/log.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

constexpr std::uint32_t kFileMagic = 0x47435146U;    // GCQF
constexpr std::uint32_t kExtentMagic = 0x47435145U;  // GCQE
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHashAt = 56;
constexpr std::chrono::seconds kRetryAfter{1};

using ExtentHeaderBytes = std::array<std::byte, kExtentHeaderBytes>;

ExtentHeaderBytes encode_extent_header(const ExtentHeader& header) noexcept {
    ExtentHeaderBytes bytes{};
    store_be(bytes.data(), kExtentMagic);
    store_be(bytes.data() + 4, kVersion);
    store_be(bytes.data() + 8, header.extent_class);
    store_be(bytes.data() + 16, header.queue_uid);
    store_be(bytes.data() + 24, header.base);
    store_be(bytes.data() + kHashAt, xxh3(Bytes(bytes.data(), kHashAt)));
    return bytes;
}

void write_file_header(std::byte* at, std::uint32_t number, std::uint32_t blocks) noexcept {
    std::fill_n(at, kExtentHeaderBytes, std::byte{0});
    store_be(at, kFileMagic);
    store_be(at + 4, kVersion);
    store_be(at + 8, number);
    store_be(at + 12, blocks);
    store_be(at + 16, kBlockBytes);
    store_be(at + kHashAt, xxh3(Bytes(at, kHashAt)));
}

/// Blocks of the file whose first bytes are `header`; 0 when it is damaged.
std::uint32_t blocks_of_header(const std::byte* header, std::uint32_t number) noexcept {
    const bool is_whole =
        load_be<std::uint64_t>(header + kHashAt) == xxh3(Bytes(header, kHashAt)) &&
        load_be<std::uint32_t>(header) == kFileMagic &&
        load_be<std::uint32_t>(header + 4) == kVersion &&
        load_be<std::uint32_t>(header + 8) == number &&
        load_be<std::uint32_t>(header + 16) == kBlockBytes;
    const auto blocks = load_be<std::uint32_t>(header + 12);
    return is_whole && blocks <= kFileBlocksMax ? blocks : 0;
}

std::uint64_t file_bytes_of(std::uint32_t blocks) noexcept {
    return kExtentFileHeaderBytes + std::uint64_t{blocks} * kBlockBytes;
}

/// The number in an 8-digit name, or kExtentFilesMax when it is none of our files.
std::uint32_t number_of_name(const std::string& name) noexcept {
    const bool is_number = name.size() == 8 && name.find_first_not_of("0123456789") == name.npos;
    const unsigned long number = is_number ? std::strtoul(name.c_str(), nullptr, 10) : 0;
    return is_number && number < kExtentFilesMax ? static_cast<std::uint32_t>(number)
                                                 : kExtentFilesMax;
}

ExtentPlace place_of(std::uint32_t file,
                     std::uint32_t block,
                     std::uint32_t extent_class,
                     std::uint32_t index) noexcept {
    const std::uint32_t kib = block * (kBlockBytes >> 10U) + (index << (2 * extent_class));
    return {file, kib << 3U | extent_class};
}

constexpr std::uint32_t extents_per_block(std::uint32_t extent_class) noexcept {
    return kBlockBytes / extent_bytes(extent_class);
}

}  // namespace

void write_extent_header(std::byte* extent, const ExtentHeader& header) noexcept {
    const ExtentHeaderBytes bytes = encode_extent_header(header);
    std::copy(bytes.begin(), bytes.end(), extent);
}

bool extent_header_matches(const std::byte* extent, const ExtentHeader& header) noexcept {
    const ExtentHeaderBytes bytes = encode_extent_header(header);
    return std::equal(bytes.begin(), bytes.end(), extent);
}

ExtentFiles::ExtentFiles(FileSystem& files, const Options& options)
    : files_(files),
      options_(options),
      bases_(std::make_unique<std::atomic<std::byte*>[]>(kExtentFilesMax)) {}

ExtentFiles::~ExtentFiles() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
    }
    wake_helper_.notify_all();
    if (helper_.joinable()) {
        helper_.join();
    }
}

std::filesystem::path ExtentFiles::path_of(std::uint32_t number) const {
    std::array<char, 16> name{};
    std::snprintf(name.data(), name.size(), "%08u", number);
    return options_.directory / name.data();
}

Result<std::unique_ptr<ExtentFiles>> ExtentFiles::open(FileSystem& files, const Options& options) {
    if (options.first_file_blocks == 0 || options.first_file_blocks > options.file_blocks_max ||
        options.file_blocks_max > kFileBlocksMax) {
        return Error{Errc::kRefused,
                     "consume queue files of " + std::to_string(options.first_file_blocks) +
                         " to " + std::to_string(options.file_blocks_max) +
                         " MiB are not within 1 to " + std::to_string(kFileBlocksMax) + " MiB"};
    }
    GANTRY_TRY(files.create_directories(options.directory));
    std::unique_ptr<ExtentFiles> self(new ExtentFiles(files, options));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(options.directory));
    for (const std::string& name : names) {
        const std::uint32_t number = number_of_name(name);
        if (number == kExtentFilesMax) {
            continue;
        }
        if (const Status opened = self->open_file(number); !opened) {
            if (opened.error().code != Errc::kCorrupt) {
                return opened.error();
            }
            kLog.warn("consume_queue_file_passed_over",
                      {{"file", self->path_of(number).string()}, {"error", opened.error()}});
        }
    }
    return self;
}

Status ExtentFiles::open_file(std::uint32_t number) {
    GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                            files_.open(path_of(number), FileSystem::Open::kReadWrite));
    std::array<std::byte, kExtentHeaderBytes> header{};
    GANTRY_ASSIGN_OR_RETURN(const std::size_t read, file->read_at(0, header));
    const std::uint32_t blocks =
        read == header.size() ? blocks_of_header(header.data(), number) : 0;
    if (blocks == 0) {
        return Error{Errc::kCorrupt, "bad file header"};
    }
    GANTRY_ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
    if (size < file_bytes_of(blocks)) {
        return Error{
            Errc::kCorrupt,
            "has " + std::to_string(size) + " B < " + std::to_string(file_bytes_of(blocks)) + " B"};
    }
    // A hole in the file would kill the process at a store on a full disk.
    GANTRY_TRY(file->allocate(file_bytes_of(blocks)));
    GANTRY_ASSIGN_OR_RETURN(Mapping mapping, file->map(file_bytes_of(blocks), true));
    auto mapped = std::make_unique<MappedFile>();
    mapped->file = std::move(file);
    mapped->mapping = std::move(mapping);
    mapped->blocks = blocks;
    const MutexLock lock(mutex_);
    if (mapped_.size() <= number) {
        mapped_.resize(number + 1);
        claims_.resize(number + 1);
    }
    claims_[number].resize(blocks);
    bases_[number].store(mapped->mapping.data() + kExtentFileHeaderBytes,
                         std::memory_order_release);
    mapped_[number] = std::move(mapped);
    return ok();
}

bool ExtentFiles::claim(ExtentPlace place) {
    const std::uint32_t extent_class = place.extent_class();
    const std::uint32_t kib = place.at >> 3U;
    const std::uint32_t block = kib / (kBlockBytes >> 10U);
    const std::uint32_t in_block = kib % (kBlockBytes >> 10U);
    if (extent_class >= kExtentClasses || place.file >= claims_.size() ||
        block >= claims_[place.file].size() || in_block % (1U << (2 * extent_class)) != 0) {
        return false;
    }
    Claims& claims = claims_[place.file][block];
    if (claims.extent_class == kExtentClasses) {
        claims.extent_class = extent_class;
        claims.taken.resize(extents_per_block(extent_class));
    }
    const std::uint32_t index = in_block >> (2 * extent_class);
    if (claims.extent_class != extent_class || claims.taken[index]) {
        return false;
    }
    claims.taken[index] = true;
    return true;
}

void ExtentFiles::finish_loading() {
    {
        const MutexLock lock(mutex_);
        // From the last to the first: lists are used from their ends, so low places come first.
        for (auto file = static_cast<std::uint32_t>(claims_.size()); file-- > 0;) {
            for (auto block = static_cast<std::uint32_t>(claims_[file].size()); block-- > 0;) {
                const Claims& claims = claims_[file][block];
                if (claims.extent_class == kExtentClasses) {
                    free_blocks_.push_back({file, block});
                    continue;
                }
                for (auto i = static_cast<std::uint32_t>(claims.taken.size()); i-- > 0;) {
                    if (!claims.taken[i]) {
                        free_[claims.extent_class].push_back(
                            place_of(file, block, claims.extent_class, i));
                    }
                }
            }
        }
        std::vector<std::vector<Claims>>().swap(claims_);
    }
    if (options_.helper_thread) {
        helper_ = std::thread([this] { prepare_in_thread(); });
    }
}

bool ExtentFiles::take_block(Block* block) {
    std::vector<Block>& from = ready_blocks_.empty() ? free_blocks_ : ready_blocks_;
    if (from.empty()) {
        return false;
    }
    *block = from.back();
    from.pop_back();
    return true;
}

bool ExtentFiles::try_take(std::uint32_t extent_class, ExtentPlace* place) {
    const MutexLock lock(mutex_);
    std::vector<ExtentPlace>& free = free_[extent_class];
    if (!free.empty()) {
        *place = free.back();
        free.pop_back();
        return true;
    }
    Cut& cut = cuts_[extent_class];
    if (cut.next == cut.end) {
        if (!take_block(&cut.block)) {
            return false;
        }
        cut.next = 0;
        cut.end = extents_per_block(extent_class);
        wake_helper_.notify_one();
    }
    *place = place_of(cut.block.file, cut.block.index, extent_class, cut.next++);
    return true;
}

Result<ExtentPlace> ExtentFiles::take(std::uint32_t extent_class) {
    ExtentPlace place;
    while (!try_take(extent_class, &place)) {
        GANTRY_TRY(add_file(false));
    }
    return place;
}

void ExtentFiles::give_back(ExtentPlace place) {
    const MutexLock lock(mutex_);
    cooling_.push_back(place);
}

void ExtentFiles::begin_flush() {
    const MutexLock lock(mutex_);
    cooled_.insert(cooled_.end(), cooling_.begin(), cooling_.end());
    cooling_.clear();
}

void ExtentFiles::end_flush(bool done) {
    const MutexLock lock(mutex_);
    if (!done) {
        return;
    }
    for (const ExtentPlace place : cooled_) {
        const std::uint32_t extent_class = place.extent_class();
        if (extent_class + 1 == kExtentClasses) {
            free_blocks_.push_back({place.file, (place.at >> 3U) / (kBlockBytes >> 10U)});
        } else {
            free_[extent_class].push_back(place);
        }
    }
    cooled_.clear();
}

Status ExtentFiles::add_file(bool is_ahead) {
    const MutexLock growing(grow_mutex_);
    std::uint32_t number = 0;
    {
        const MutexLock lock(mutex_);
        if (!free_blocks_.empty() || (!is_ahead && !ready_blocks_.empty())) {
            return ok();
        }
        while (number < mapped_.size() && mapped_[number] != nullptr) {
            ++number;
        }
    }
    if (number == kExtentFilesMax) {
        return Error{Errc::kRefused,
                     "consume queues have " + std::to_string(number) + " files, the limit"};
    }
    std::uint32_t blocks = options_.first_file_blocks;
    for (std::uint32_t i = 0; i < number && blocks < options_.file_blocks_max; ++i) {
        blocks = std::min(blocks * 2, options_.file_blocks_max);
    }
    return create_file(number, blocks);
}

Status ExtentFiles::create_file(std::uint32_t number, std::uint32_t blocks) {
    GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                            files_.open(path_of(number), FileSystem::Open::kCreate));
    GANTRY_TRY(file->allocate(file_bytes_of(blocks)));
    GANTRY_FAILPOINT_TRY("queues.file_allocated");
    GANTRY_ASSIGN_OR_RETURN(Mapping mapping, file->map(file_bytes_of(blocks), true));
    write_file_header(mapping.data(), number, blocks);
    auto mapped = std::make_unique<MappedFile>();
    mapped->file = std::move(file);
    mapped->mapping = std::move(mapping);
    mapped->blocks = blocks;
    bases_[number].store(mapped->mapping.data() + kExtentFileHeaderBytes,
                         std::memory_order_release);
    const MutexLock lock(mutex_);
    if (mapped_.size() <= number) {
        mapped_.resize(number + 1);
    }
    mapped_[number] = std::move(mapped);
    has_new_file_ = true;
    for (std::uint32_t i = blocks; i-- > 0;) {
        free_blocks_.push_back({number, i});
    }
    return ok();
}

void ExtentFiles::fault_in(Block block) {
    const Mapping* mapping = nullptr;  // stays where it is: files are only added
    {
        const MutexLock lock(mutex_);
        mapping = &mapped_[block.file]->mapping;
    }
    const Status done = mapping->populate_for_write(
        kExtentFileHeaderBytes + std::size_t{block.index} * kBlockBytes, kBlockBytes);
    if (!done) {
        // The stores will fault the pages in themselves.
        kLog.warn("consume_queue_prefault_failed", {{"error", done.error()}});
    }
    const MutexLock lock(mutex_);
    ready_blocks_.insert(ready_blocks_.begin(), block);
}

ExtentFiles::HelperWork ExtentFiles::wait_for_work(Block* block) {
    MutexLock lock(mutex_);
    while (!is_stopping_ && ready_blocks_.size() >= options_.blocks_ahead) {
        lock.wait(wake_helper_);
    }
    if (is_stopping_) {
        return HelperWork::kStop;
    }
    if (free_blocks_.empty()) {
        return HelperWork::kAddFile;
    }
    *block = free_blocks_.back();
    free_blocks_.pop_back();
    return HelperWork::kFaultIn;
}

void ExtentFiles::prepare_in_thread() {
    set_thread_name("cq-prepare");
    bool has_failed = false;
    Block block;
    for (HelperWork work = wait_for_work(&block); work != HelperWork::kStop;
         work = wait_for_work(&block)) {
        if (work == HelperWork::kFaultIn) {
            fault_in(block);
            continue;
        }
        const Status added = add_file(true);
        if (!added && !has_failed) {
            kLog.warn("consume_queue_file_not_prepared", {{"error", added.error()}});
        }
        has_failed = !added;
        MutexLock lock(mutex_);
        if (has_failed && !is_stopping_) {
            lock.wait_until(wake_helper_, std::chrono::steady_clock::now() + kRetryAfter);
        }
    }
}

Status ExtentFiles::sync() {
    std::vector<File*> all;
    bool has_new_file = false;
    {
        const MutexLock lock(mutex_);
        if (sync_failure_) {
            return *sync_failure_;
        }
        for (const auto& mapped : mapped_) {
            if (mapped != nullptr) {
                all.push_back(mapped->file.get());
            }
        }
        has_new_file = std::exchange(has_new_file_, false);
    }
    const auto sync_all = [&]() -> Status {
        GANTRY_FAILPOINT_TRY("queues.before_sync");
        for (File* file : all) {
            GANTRY_TRY(file->sync_data());
        }
        GANTRY_TRY(has_new_file ? files_.sync_directory(options_.directory) : ok());
        GANTRY_FAILPOINT_TRY("queues.after_sync");
        return ok();
    };
    Status synced = sync_all();
    if (!synced) {
        const MutexLock lock(mutex_);
        sync_failure_ = synced.error();
    }
    return synced;
}

std::uint64_t ExtentFiles::file_bytes() const {
    const MutexLock lock(mutex_);
    std::uint64_t bytes = 0;
    for (const auto& mapped : mapped_) {
        bytes += mapped != nullptr ? file_bytes_of(mapped->blocks) : 0;
    }
    return bytes;
}

}  // namespace gantry::storage
