// SPDX-License-Identifier: Apache-2.0
#include "common/file_system.h"

#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace gantry {
namespace {

namespace fs = std::filesystem;

/// A fresh directory, removed at the end of the case.
class Directory {
public:
    Directory() {
        std::string pattern = (fs::temp_directory_path() / "gantry-files-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }

    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    ~Directory() { fs::remove_all(path_); }

    fs::path operator/(std::string_view name) const { return path_ / name; }

    const fs::path& path() const { return path_; }

private:
    fs::path path_;
};

template <class T>
Errc code_of(const Result<T>& result) {
    REQUIRE_FALSE(result.has_value());
    return result.error().code;
}

TEST_SUITE("common/file_system") {
    TEST_CASE("bytes written at an offset are read back, short only at the end of the file") {
        const Directory directory;
        const auto files = make_posix_file_system();
        auto file = files->open(directory / "a", FileSystem::Open::kCreate);
        REQUIRE(file);
        REQUIRE((*file)->write_at(3, as_bytes("hello")));
        CHECK((*file)->size().value() == 8);
        std::array<std::byte, 16> buffer{};
        CHECK((*file)->read_at(3, buffer).value() == 5);
        CHECK(as_text(Bytes(buffer).first(5)) == "hello");
        CHECK((*file)->read_at(100, buffer).value() == 0);
        CHECK((*file)->sync_data());
    }

    TEST_CASE("a missing file is kNotFound and the error names it") {
        const Directory directory;
        const auto files = make_posix_file_system();
        const auto opened = files->open(directory / "missing", FileSystem::Open::kRead);
        CHECK(code_of(opened) == Errc::kNotFound);
        CHECK(opened.error().detail.find("missing") != std::string::npos);
        CHECK(code_of(files->list(directory / "nowhere")) == Errc::kNotFound);
        CHECK_FALSE(files->exists(directory / "missing"));
    }

    TEST_CASE("allocate grows the file, and a mapping shares its pages with reads") {
        const Directory directory;
        const auto files = make_posix_file_system();
        auto file = files->open(directory / "a", FileSystem::Open::kCreate);
        REQUIRE(file);
        REQUIRE((*file)->allocate(65'536));
        CHECK((*file)->size().value() == 65'536);
        auto mapping = (*file)->map(65'536, true);
        REQUIRE(mapping);
        CHECK(mapping->populate_for_write(5'000, 20'000));
        CHECK(mapping->populate_for_write(60'000, 1'000'000));
        mapping->data()[40'000] = std::byte{7};
        std::array<std::byte, 1> one{};
        REQUIRE((*file)->read_at(40'000, one));
        CHECK(one[0] == std::byte{7});
        const Mapping moved = std::move(*mapping);
        CHECK(moved.data()[40'000] == std::byte{7});
        CHECK(code_of((*file)->map(0, true)) == Errc::kRefused);
    }

    TEST_CASE("a file cannot be allocated beyond the volume: kDiskFull or kIo, never success") {
        const Directory directory;
        const auto files = make_posix_file_system();
        auto file = files->open(directory / "a", FileSystem::Open::kCreate);
        REQUIRE(file);
        const auto free = files->free_bytes(directory.path());
        REQUIRE(free);
        CHECK(*free > 0);
        CHECK_FALSE((*file)->allocate(std::uint64_t{1} << 52U));
    }

    TEST_CASE("a lock is exclusive while its file is open") {
        const Directory directory;
        const auto files = make_posix_file_system();
        {
            const auto held = files->lock(directory / "lock");
            REQUIRE(held);
            const auto second = files->lock(directory / "lock");
            CHECK(code_of(second) == Errc::kConflict);
            CHECK(second.error().detail.find((directory / "lock").string()) != std::string::npos);
        }
        CHECK(files->lock(directory / "lock"));
    }

    TEST_CASE("an atomic write replaces the whole content and leaves nothing else behind") {
        const Directory directory;
        const auto files = make_posix_file_system();
        REQUIRE(write_file_atomically(*files, directory / "a", as_bytes("a longer first text")));
        REQUIRE(write_file_atomically(*files, directory / "a", as_bytes("second")));
        CHECK(read_file(*files, directory / "a", 100).value() == "second");
        CHECK(files->list(directory.path()).value() == std::vector<std::string>{"a"});
        CHECK(code_of(read_file(*files, directory / "a", 5)) == Errc::kRefused);
    }

    TEST_CASE("an atomic write that cannot happen keeps the old content") {
        const Directory directory;
        const auto files = make_posix_file_system();
        REQUIRE(write_file_atomically(*files, directory / "a", as_bytes("old")));
        REQUIRE(files->create_directories(directory / "a.new"));
        CHECK_FALSE(write_file_atomically(*files, directory / "a", as_bytes("new")));
        CHECK(read_file(*files, directory / "a", 100).value() == "old");
    }

    TEST_CASE("entries are listed by name in order, renamed and removed") {
        const Directory directory;
        const auto files = make_posix_file_system();
        REQUIRE(files->create_directories(directory / "d/e"));
        for (const char* name : {"d/2", "d/1"}) {
            REQUIRE(files->open(directory / name, FileSystem::Open::kCreate));
        }
        CHECK(files->list(directory / "d").value() == std::vector<std::string>{"1", "2", "e"});
        REQUIRE(files->rename(directory / "d/1", directory / "d/3"));
        REQUIRE(files->remove(directory / "d/2"));
        REQUIRE(files->sync_directory(directory / "d"));
        CHECK(files->list(directory / "d").value() == std::vector<std::string>{"3", "e"});
        CHECK(code_of(files->remove(directory / "d/2")) == Errc::kNotFound);
    }
}

}  // namespace
}  // namespace gantry
