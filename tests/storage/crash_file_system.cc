// SPDX-License-Identifier: Apache-2.0
#include "tests/storage/crash_file_system.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPageBytes = 4'096;
constexpr std::size_t kSectorBytes = 512;

std::shared_ptr<const std::string> content_of(File& file) {
    std::string content(file.size().value(), '\0');
    const MutableBytes into(reinterpret_cast<std::byte*>(content.data()), content.size());
    content.resize(file.read_at(0, into).value());
    return std::make_shared<const std::string>(std::move(content));
}

bool is_zero(std::string_view bytes) {
    return bytes.empty() ||
           (bytes[0] == '\0' && bytes.substr(1) == bytes.substr(0, bytes.size() - 1));
}

/// Choices of one image: the same for all its files, or rolled for each.
class Dice {
public:
    Dice(Survives survives, Random& random) : survives_(survives), random_(random) { roll(); }

    /// Another chance for what follows.
    void roll() {
        constexpr std::array<std::uint64_t, 5> kPercents{0, 10, 50, 90, 100};
        percent_ = kPercents[random_.below(kPercents.size())];
    }

    bool is_on_disk() {
        if (survives_ != Survives::kRandom) {
            return survives_ == Survives::kEverything;
        }
        return random_.below(100) < percent_;
    }

private:
    const Survives survives_;
    Random& random_;
    std::uint64_t percent_ = 0;
};

/// One piece of a file: as synced, as now, or zeros where the file was cut off in between.
void mix_piece(const PowerCut::Data& data, std::size_t at, Dice& dice, std::string* into) {
    const std::size_t bytes = into->size();
    const auto copy = [&](const std::string& from, std::size_t end) {
        if (at < std::min(end, from.size())) {
            const std::size_t count = std::min({bytes, from.size() - at, end - at});
            std::memcpy(into->data(), from.data() + at, count);
        }
    };
    const bool was_cut = at + bytes > data.kept_bytes && data.kept_bytes < data.synced->size();
    copy(*data.synced, was_cut && dice.is_on_disk() ? data.kept_bytes : data.synced->size());
    std::string now(bytes, '\0');
    if (at < data.current->size()) {
        std::memcpy(
            now.data(), data.current->data() + at, std::min(bytes, data.current->size() - at));
    }
    if (now != *into && dice.is_on_disk()) {
        *into = std::move(now);
    }
}

void write_file(const PowerCut::Data& data, std::size_t piece_bytes, Dice& dice, File& file) {
    const bool is_new_size = dice.is_on_disk();
    std::uint64_t size = is_new_size ? data.current->size() : data.synced->size();
    if (data.kept_bytes < size && data.kept_bytes < data.synced->size() && !is_new_size &&
        dice.is_on_disk()) {
        size = data.kept_bytes;
    }
    REQUIRE(file.truncate(size));
    for (std::size_t at = 0; at < size; at += piece_bytes) {
        std::string piece(std::min<std::size_t>(piece_bytes, size - at), '\0');
        mix_piece(data, at, dice, &piece);
        if (!is_zero(piece)) {
            REQUIRE(file.write_at(at, as_bytes(piece)));
        }
    }
}

/// Names that are on the disk. A change of a name whose former change is not there is not either.
std::map<std::string, const void*> choose_names(const PowerCut& cut, Dice& dice) {
    std::map<std::string, const void*> names = cut.durable_names;
    std::set<std::string> lost;
    for (const PowerCut::Change& change : cut.changes) {
        if (lost.count(change.removed) + lost.count(change.made) > 0 || !dice.is_on_disk()) {
            for (const std::string& name : {change.removed, change.made}) {
                if (!name.empty()) {
                    lost.insert(name);
                }
            }
            continue;
        }
        names.erase(change.removed);
        if (!change.made.empty()) {
            names[change.made] = change.node;
        }
    }
    return names;
}

}  // namespace

void write_image(const PowerCut& cut, Survives survives, Random& random, const fs::path& root) {
    Dice dice(survives, random);
    const std::size_t piece_bytes = random.below(4) == 0 ? kSectorBytes : kPageBytes;
    const auto files = make_posix_file_system();
    // Sorted, so that a directory comes before what is in it.
    for (const auto& [name, node] : choose_names(cut, dice)) {
        const fs::path path = root / name;
        if (!fs::exists(path.parent_path())) {
            continue;
        }
        if (node == nullptr) {
            fs::create_directory(path);
            continue;
        }
        dice.roll();
        const auto file = files->open(path, FileSystem::Open::kCreate);
        REQUIRE(file);
        write_file(cut.data.at(node), piece_bytes, dice, **file);
    }
}

class CrashFileSystem::TrackedFile final : public File {
public:
    TrackedFile(CrashFileSystem& owner, std::unique_ptr<File> real, NodePtr node, fs::path path)
        : owner_(owner), real_(std::move(real)), node_(std::move(node)), path_(std::move(path)) {}

    Status write_at(std::uint64_t offset, Bytes bytes) override {
        const MutexLock lock(owner_.mutex_);
        owner_.before_change(path_);
        return real_->write_at(offset, bytes);
    }

    Result<std::size_t> read_at(std::uint64_t offset, MutableBytes into) override {
        return real_->read_at(offset, into);
    }

    Status sync_data() override {
        const MutexLock lock(owner_.mutex_);
        owner_.before_change(path_);
        if (owner_.is_lie(path_)) {
            return ok();
        }
        node_->synced = content_of(*node_->file);
        node_->kept_bytes = node_->synced->size();
        return ok();
    }

    Status allocate(std::uint64_t bytes) override {
        const MutexLock lock(owner_.mutex_);
        owner_.before_change(path_);
        return real_->allocate(bytes);
    }

    Status truncate(std::uint64_t bytes) override {
        const MutexLock lock(owner_.mutex_);
        owner_.before_change(path_);
        node_->kept_bytes = std::min(node_->kept_bytes, bytes);
        return real_->truncate(bytes);
    }

    Result<std::uint64_t> size() override { return real_->size(); }

    Result<Mapping> map(std::uint64_t size, bool writable) override {
        return real_->map(size, writable);
    }

    int descriptor() const noexcept override { return real_->descriptor(); }

private:
    CrashFileSystem& owner_;
    const std::unique_ptr<File> real_;
    const NodePtr node_;
    const fs::path path_;
};

CrashFileSystem::CrashFileSystem(fs::path root) : root_(std::move(root)) {
    const MutexLock lock(mutex_);
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root_)) {
        const NodePtr node = add(entry.path(), entry.is_directory());
        if (node != nullptr) {
            node->synced = content_of(*node->file);
            node->kept_bytes = node->synced->size();
        }
    }
    durable_names_ = names_;
    changes_.clear();
}

std::string CrashFileSystem::name_of(const fs::path& path) const {
    return path.lexically_relative(root_).string();
}

CrashFileSystem::NodePtr CrashFileSystem::add(const fs::path& path, bool is_directory) {
    NodePtr node;
    if (!is_directory) {
        node = std::make_shared<Node>();
        node->file = real_->open(path, Open::kRead).value();
    }
    const std::string name = name_of(path);
    names_[name] = node;
    changes_.push_back({{}, name, node});
    return node;
}

void CrashFileSystem::before_change(const fs::path& path) {
    if (changes_left_ > 0 && path.string().find(path_part_) != std::string::npos &&
        --changes_left_ == 0) {
        taken_ = cut_locked();
    }
}

PowerCut CrashFileSystem::cut_locked() {
    PowerCut cut;
    // Asked first: what is durable now still is when the files have been read.
    cut.durable = durable_ ? durable_() : LogOffset(0);
    const auto add_data = [&](const NodePtr& node) {
        if (node != nullptr && cut.data.count(node.get()) == 0) {
            cut.data[node.get()] = {node->synced, content_of(*node->file), node->kept_bytes};
        }
    };
    for (const auto& [name, node] : durable_names_) {
        cut.durable_names[name] = node.get();
        add_data(node);
    }
    for (const Change& change : changes_) {
        cut.changes.push_back({change.removed, change.made, change.node.get()});
        add_data(change.node);
    }
    return cut;
}

void CrashFileSystem::set_durable(std::function<LogOffset()> durable) {
    const MutexLock lock(mutex_);
    durable_ = std::move(durable);
}

void CrashFileSystem::lie_about(std::string path_part) {
    const MutexLock lock(mutex_);
    lied_part_ = std::move(path_part);
}

bool CrashFileSystem::is_lie(const std::filesystem::path& path) const {
    return !lied_part_.empty() && path.string().find(lied_part_) != std::string::npos;
}

PowerCut CrashFileSystem::cut() {
    const MutexLock lock(mutex_);
    return cut_locked();
}

void CrashFileSystem::cut_at(std::uint64_t nth, std::string path_part) {
    const MutexLock lock(mutex_);
    changes_left_ = nth;
    path_part_ = std::move(path_part);
}

std::optional<PowerCut> CrashFileSystem::taken() {
    const MutexLock lock(mutex_);
    return std::exchange(taken_, std::nullopt);
}

Result<std::unique_ptr<File>> CrashFileSystem::open(const fs::path& path, Open how) {
    const MutexLock lock(mutex_);
    const auto found = names_.find(name_of(path));
    if (found == names_.end() && how == Open::kCreate) {
        before_change(path);
    }
    GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<File> file, real_->open(path, how));
    NodePtr node = found != names_.end() ? found->second : add(path, false);
    return std::unique_ptr<File>(
        std::make_unique<TrackedFile>(*this, std::move(file), std::move(node), path));
}

Result<std::vector<std::string>> CrashFileSystem::list(const fs::path& directory) {
    return real_->list(directory);
}

bool CrashFileSystem::exists(const fs::path& path) {
    return real_->exists(path);
}

Status CrashFileSystem::create_directories(const fs::path& directory) {
    const MutexLock lock(mutex_);
    fs::path path = root_;
    for (const fs::path& part : directory.lexically_relative(root_)) {
        path /= part;
        if (!real_->exists(path)) {
            before_change(path);
            GANTRY_TRY(real_->create_directories(path));
            add(path, true);
        }
    }
    return ok();
}

Status CrashFileSystem::rename(const fs::path& from, const fs::path& to) {
    const MutexLock lock(mutex_);
    before_change(to);
    GANTRY_TRY(real_->rename(from, to));
    const NodePtr node = std::exchange(names_[name_of(from)], nullptr);
    names_.erase(name_of(from));
    names_[name_of(to)] = node;
    changes_.push_back({name_of(from), name_of(to), node});
    return ok();
}

Status CrashFileSystem::remove(const fs::path& path) {
    const MutexLock lock(mutex_);
    before_change(path);
    GANTRY_TRY(real_->remove(path));
    names_.erase(name_of(path));
    changes_.push_back({name_of(path), {}, nullptr});
    return ok();
}

Status CrashFileSystem::sync_directory(const fs::path& directory) {
    const MutexLock lock(mutex_);
    before_change(directory);
    const auto is_covered = [&](const Change& change) {
        const std::string& name = change.made.empty() ? change.removed : change.made;
        return (root_ / name).parent_path() == directory;
    };
    for (const Change& change : changes_) {
        if (is_covered(change)) {
            durable_names_.erase(change.removed);
            if (!change.made.empty()) {
                durable_names_[change.made] = change.node;
            }
        }
    }
    changes_.erase(std::remove_if(changes_.begin(), changes_.end(), is_covered), changes_.end());
    return ok();
}

Result<std::uint64_t> CrashFileSystem::free_bytes(const fs::path& path) {
    return real_->free_bytes(path);
}

Result<std::unique_ptr<File>> CrashFileSystem::lock(const fs::path& path) {
    return real_->lock(path);
}

}  // namespace gantry::storage
