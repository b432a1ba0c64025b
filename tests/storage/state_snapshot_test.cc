// SPDX-License-Identifier: Apache-2.0
#include "storage/state_snapshot.h"

#include "common/random.h"
#include "tests/storage/scratch_directory.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace gantry::storage {
namespace {

wire::StateSnapshot example(std::int64_t log_offset) {
    wire::StateSnapshot snapshot;
    snapshot.set_logoffset(log_offset);
    snapshot.set_statequeueoffset(log_offset / 10);
    snapshot.mutable_topicversion()->set_counter(7);
    snapshot.add_topics()->set_topicname("orders");
    snapshot.add_groups()->set_groupname("billing");
    wire::OffsetPut& put = *snapshot.add_offsets();
    put.set_group("billing");
    put.set_topic("orders");
    put.set_queueid(1);
    put.set_offset(99);
    return snapshot;
}

struct Fixture {
    ScratchDirectory scratch;
    std::unique_ptr<FileSystem> files = make_posix_file_system();

    std::filesystem::path directory() const { return scratch.path() / "state"; }

    void save(std::int64_t log_offset) {
        REQUIRE(save_snapshot(*files, directory(), example(log_offset)).has_value());
    }

    LoadedSnapshot load() {
        auto loaded = load_snapshot(*files, directory());
        REQUIRE(loaded.has_value());
        return std::move(loaded).value();
    }

    std::filesystem::path newest() {
        const auto names = files->list(directory());
        REQUIRE(names.has_value());
        return directory() / names->back();
    }
};

void overwrite(const std::filesystem::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

}  // namespace

TEST_SUITE("storage/state_snapshot") {
    TEST_CASE("a saved snapshot is loaded again, the two newest are kept") {
        Fixture f;
        CHECK_FALSE(f.load().found);
        for (const std::int64_t at : {100, 5'000, 30, 70'000}) {
            f.save(at);
        }
        const LoadedSnapshot loaded = f.load();
        CHECK(loaded.found);
        CHECK(loaded.note.empty());
        CHECK(loaded.snapshot.SerializeAsString() == example(70'000).SerializeAsString());
        CHECK(f.files->list(f.directory())->size() == 2);
        CHECK(f.newest().filename() == "00000000000000070000.snapshot");
    }

    TEST_CASE("every flipped bit and every truncation is found, and the one before is taken") {
        Fixture f;
        f.save(100);
        f.save(200);
        const auto path = f.newest();
        const std::string good = *read_file(*f.files, path, 1U << 20U);
        const auto falls_back = [&](const std::string& content) {
            overwrite(path, content);
            const LoadedSnapshot loaded = f.load();
            return loaded.found && loaded.snapshot.logoffset() == 100 &&
                   loaded.note.find("00000000000000000200.snapshot") != std::string::npos;
        };
        for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
            std::string bad = good;
            bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
            REQUIRE(falls_back(bad));
        }
        for (std::size_t size = 0; size < good.size(); ++size) {
            REQUIRE(falls_back(good.substr(0, size)));
        }
        overwrite(path, good);
        CHECK(f.load().snapshot.logoffset() == 200);
    }

    TEST_CASE("without any whole snapshot there is none, and the note names each damaged one") {
        Fixture f;
        f.save(100);
        f.save(200);
        overwrite(f.directory() / "00000000000000000100.snapshot", "");
        overwrite(f.directory() / "00000000000000000200.snapshot", "some noise of some length");
        const LoadedSnapshot loaded = f.load();
        CHECK_FALSE(loaded.found);
        CHECK(loaded.snapshot.logoffset() == 0);
        CHECK(loaded.note.find("100.snapshot") != std::string::npos);
        CHECK(loaded.note.find("200.snapshot") != std::string::npos);
    }

    TEST_CASE("a snapshot under another's name is not taken, other files are left alone") {
        Fixture f;
        f.save(100);
        std::filesystem::rename(f.newest(), f.directory() / "00000000000000000900.snapshot");
        overwrite(f.directory() / "notes.txt", "mine");
        CHECK_FALSE(f.load().found);
        f.save(200);
        f.save(300);
        f.save(400);
        CHECK(f.files->exists(f.directory() / "notes.txt"));
    }
}

}  // namespace gantry::storage
