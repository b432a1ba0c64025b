// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/storage_id.h"

#include "common/checksum.h"
#include "tests/storage/check/stopped_store.h"

#include <fstream>

namespace gantry::storage {
namespace {

struct Fixture {
    Fixture() : folder(fast_directory()) { options = small_options(folder.path() / "store"); }

    StorageIdentity open(const std::string& boot) {
        auto opened = StorageIdentity::open(*files, options, boot);
        REQUIRE(opened);
        return std::move(opened).value();
    }

    void set_unclean(bool is_unclean) const {
        const auto abort = options.directory / "abort";
        if (is_unclean) {
            std::ofstream(abort).put('x');
        } else {
            std::filesystem::remove(abort);
        }
    }

    TemporaryDirectory folder;
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    StoreOptions options;
};

TEST_SUITE("storage/replica/storage_id") {
    TEST_CASE("a directory keeps its id, a new one has another") {
        Fixture f;
        Fixture other;
        const std::uint64_t id = f.open("boot-1").id();
        CHECK(id != 0);
        CHECK_FALSE(f.open("boot-1").was_renewed());
        CHECK(f.open("boot-1").id() == id);
        CHECK(f.open("boot-2").id() == id);
        CHECK(other.open("boot-1").id() != id);
    }

    TEST_CASE("without sync flush a machine that went down under the broker costs the id") {
        Fixture f;
        const std::uint64_t id = f.open("boot-1").id();
        f.set_unclean(true);
        CHECK(f.open("boot-1").id() == id);  // the broker alone was killed
        f.options.flush = FlushMode::kSync;
        CHECK(f.open("boot-2").id() == id);
        f.options.flush = FlushMode::kAsync;
        const StorageIdentity renewed = f.open("boot-3");
        CHECK(renewed.id() != id);
        CHECK(renewed.was_renewed());
        CHECK(f.open("boot-3").id() == renewed.id());
        f.set_unclean(false);
        CHECK(f.open("boot-4").id() == renewed.id());
    }

    TEST_CASE("a promise is kept over restarts and never taken back") {
        Fixture f;
        StorageIdentity identity = f.open("boot");
        CHECK(identity.promised_epoch() == 0);
        REQUIRE(identity.promise(5));
        REQUIRE(identity.promise(3));
        CHECK(identity.promised_epoch() == 5);
        CHECK(f.open("boot").promised_epoch() == 5);
        f.set_unclean(true);
        CHECK(f.open("boot-2").promised_epoch() == 5);
    }

    TEST_CASE("the file is as documented") {
        Fixture f;
        StorageIdentity identity = f.open("b1");
        REQUIRE(identity.promise(3));
        const std::string file =
            StoppedStore::content_of(f.options.directory / "replica" / "identity");
        REQUIRE(file.size() == 38);
        CHECK(file.substr(0, 8) == "GANTRYRI");
        const auto* const bytes = as_bytes(file).data();
        CHECK(load_be<std::uint64_t>(bytes + 8) == identity.id());
        CHECK(load_be<std::int64_t>(bytes + 16) == 3);
        CHECK(load_be<std::uint32_t>(bytes + 24) == 2);
        CHECK(file.substr(28, 2) == "b1");
        CHECK(load_be<std::uint64_t>(bytes + 30) == xxh3(as_bytes(file).first(30)));
    }

    TEST_CASE("a damaged file costs the id, not the start") {
        Fixture f;
        const std::uint64_t id = f.open("boot").id();
        StoppedStore::flip(f.options.directory / "replica" / "identity", 10);
        const StorageIdentity renewed = f.open("boot");
        CHECK(renewed.was_renewed());
        CHECK(renewed.id() != id);
        std::ofstream(f.options.directory / "replica" / "identity") << "short";
        CHECK(f.open("boot").was_renewed());
    }
}

}  // namespace
}  // namespace gantry::storage
