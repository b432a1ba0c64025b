// SPDX-License-Identifier: Apache-2.0
// Numbered sends and whole frames in a store that is stopped, killed and cut.
#include "common/random.h"
#include "protocol/wire/send_number.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/wire/seed.h"

#include <algorithm>
#include <map>
#include <thread>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

/// A frame as its producer would send it again.
struct Frame {
    std::uint64_t producer = 0;
    std::uint32_t epoch = 0;
    std::int64_t sequence = 0;
    std::vector<std::string> bodies;
    bool is_numbered = true;
};

std::string records_of(const Frame& frame, const std::string& topic) {
    std::string bytes;
    for (const std::string& body : frame.bodies) {
        std::string properties;
        wire::Record record;
        if (bytes.empty() && frame.is_numbered) {
            REQUIRE(wire::append_property(
                properties,
                wire::property::kSendNumber,
                wire::format_send_number({frame.producer, frame.epoch, frame.sequence})));
            record.sys_flag = wire::sys_flag::kNumbered;
        }
        record.topic = topic;
        record.properties = properties;
        record.body = as_bytes(body);
        const std::size_t at = bytes.size();
        bytes.resize(at + wire::record_bytes(record));
        wire::encode_record(record,
                            {reinterpret_cast<std::byte*>(bytes.data()) + at, bytes.size() - at});
    }
    return bytes;
}

/// A store in which nothing becomes durable by itself, so that its log may end anywhere.
struct Fixture {
    explicit Fixture(const fs::path& path, FlushMode flush = FlushMode::kAsync) : at(path) {
        at.options.flush = flush;
        at.options.flush_interval_ms = 3'600'000;
        at.options.segment_bytes = 1 << 20;
        at.options.prefault_bytes = 1 << 20;
        at.open();
    }

    Result<Appended> send(const Frame& frame, const std::string& topic = "t") {
        const std::string bytes = records_of(frame, topic);
        return at.store->append_records(at.queue(topic),
                                        as_bytes(bytes),
                                        static_cast<std::uint32_t>(frame.bodies.size()),
                                        false);
    }

    StoreFixture at;
};

/// Producers that send frames in turn, numbered or not.
class Senders {
public:
    explicit Senders(Random& random) : random_(random) {}

    Frame next() {
        Frame frame;
        frame.producer = random_.below(4);
        frame.is_numbered = frame.producer != 0;
        if (random_.below(50) == 0) {
            ++epochs_[frame.producer];
            sequences_[frame.producer] = 0;
        }
        frame.epoch = epochs_[frame.producer];
        std::int64_t& sequence = sequences_[frame.producer];
        frame.sequence = sequence;
        const std::uint64_t count = 1 + random_.below(5);
        for (std::uint64_t i = 0; i < count; ++i) {
            frame.bodies.push_back(numbered_body(messages_++, 20 + random_.below(100)));
        }
        sequence += static_cast<std::int64_t>(count);
        return frame;
    }

private:
    Random& random_;
    std::map<std::uint64_t, std::uint32_t> epochs_;
    std::map<std::uint64_t, std::int64_t> sequences_;
    std::size_t messages_ = 0;
};

struct Stored {
    Frame frame;
    Appended place;
};

std::vector<std::string> bodies_of(const std::vector<Stored>& sent, LogOffset end) {
    std::vector<std::string> bodies;
    for (const Stored& each : sent) {
        if (each.place.end <= end) {
            bodies.insert(bodies.end(), each.frame.bodies.begin(), each.frame.bodies.end());
        }
    }
    return bodies;
}

/// Every producer sends its newest frames again: those that are there are not stored again.
void check_resent(Fixture& left, const std::vector<Stored>& sent, LogOffset end) {
    std::map<std::uint64_t, std::vector<const Stored*>> of_producer;
    for (const Stored& each : sent) {
        std::vector<const Stored*>& newest = of_producer[each.frame.producer];
        if (!newest.empty() && newest.back()->frame.epoch != each.frame.epoch) {
            newest.clear();
        }
        newest.push_back(&each);
    }
    for (const auto& [producer, newest] : of_producer) {
        const auto lost = std::find_if(
            newest.begin(), newest.end(), [end](const Stored* s) { return s->place.end > end; });
        const auto known = std::min<std::ptrdiff_t>(lost - newest.begin(),
                                                    std::ptrdiff_t{ProducerTable::kFramesKept});
        for (auto at = lost - known; at != newest.end() && producer != 0; ++at) {
            const auto again = left.send((*at)->frame);
            REQUIRE_MESSAGE(again, to_string(again ? Error{} : again.error()));
            CHECK(again->is_repeat == ((*at)->place.end <= end));
            CHECK((!again->is_repeat || again->first == (*at)->place.first));
            CHECK((!again->is_repeat || again->queue_offset == (*at)->place.queue_offset));
        }
    }
}

/// The store as it is after a power cut that left the log up to `cut`.
void check_cut(Fixture& live,
               const fs::path& path,
               const std::vector<Stored>& sent,
               LogOffset cut) {
    copy_store(live.at.options.directory, path);
    const LogOffset end = live.at.store->watermarks().appended;
    overwrite(segment_path(path), cut.value, std::string(bytes_between(cut, end), '\0'));
    Fixture left(path);
    INFO("cut at ", cut.value, " of ", end.value);
    const LogOffset kept = left.at.store->watermarks().appended;
    // The last frame that ends at or before the cut; its last zeros may be among what was cut.
    constexpr std::int64_t kZeroBytes = 2;
    CHECK(kept <= cut + kZeroBytes);
    CHECK(std::all_of(sent.begin(), sent.end(), [&](const Stored& s) {
        return (s.place.end <= cut) <= (s.place.end <= kept);
    }));
    CHECK(read_bodies(*left.at.store, left.at.queue("t")) == bodies_of(sent, kept));
    check_resent(left, sent, kept);
}

}  // namespace

TEST_SUITE("storage/producers/numbered_store") {
    TEST_CASE("wherever the log ends, frames are whole, and what is sent again is stored once") {
        Random random(wire::test_seed("numbered sends"));
        const TemporaryDirectory directory(fast_directory());
        Fixture live(directory.path() / "live");
        live.at.queue("t");
        Senders senders(random);
        std::vector<Stored> sent;
        LogOffset snapshot = live.at.store->watermarks().appended;
        for (int i = 0; i < 600; ++i) {
            const Frame frame = senders.next();
            const auto place = live.send(frame);
            REQUIRE(place);
            CHECK_FALSE(place->is_repeat);
            sent.push_back({frame, *place});
            if (random.below(150) == 0) {
                REQUIRE(live.at.store->close());
                live.at.open();
                snapshot = live.at.store->watermarks().appended;
            }
            if (random.below(20) == 0) {
                const LogOffset end = live.at.store->watermarks().appended;
                const std::uint64_t room = bytes_between(snapshot, end);
                const LogOffset cut =
                    snapshot + static_cast<std::int64_t>(room == 0 ? 0 : random.below(room + 1));
                check_cut(live, directory.path() / "image", sent, cut);
            }
        }
        check_cut(live, directory.path() / "image", sent, live.at.store->watermarks().appended);
    }

    TEST_CASE("a frame without its last record is cut, and told") {
        const TemporaryDirectory directory(fast_directory());
        Fixture live(directory.path() / "live");
        const Frame whole{1, 0, 0, {"one", "two"}};
        const Frame torn{1, 0, 2, {"three", "four", "five"}};
        const LogOffset end = live.send(whole)->end;
        const Appended lost = live.send(torn).value();
        const fs::path path = directory.path() / "image";
        copy_store(live.at.options.directory, path);
        const std::int64_t last_record = lost.end.value - 10;
        overwrite(segment_path(path), last_record, std::string(10, '\0'));
        Fixture left(path);
        CHECK(left.at.store->watermarks().appended == end);
        CHECK(left.at.recovery.cut_at == end);
        CHECK(left.at.recovery.bytes_cut > 0);
        CHECK(left.at.recovery.note.find("the frame at " + std::to_string(end.value) +
                                         " lacks its last records") != std::string::npos);
        CHECK(read_bodies(*left.at.store, left.at.queue("t")) ==
              std::vector<std::string>{"one", "two"});
        CHECK(left.send(whole)->is_repeat);
        const Appended again = left.send(torn).value();
        CHECK_FALSE(again.is_repeat);
        CHECK(again.first == lost.first);
        CHECK(again.queue_offset == lost.queue_offset);
    }

    TEST_CASE("marks are the broker's: those a sender sets on the wrong records do no harm") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        Queue& queue = f.at.queue("t");
        wire::Record record;
        record.topic = "t";
        record.sys_flag = wire::sys_flag::kMoreFollow;
        std::string bytes(wire::record_bytes(record), '\0');
        wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
        const auto append = [&](const std::string& records, std::uint32_t count) {
            return f.at.store->append_records(queue, as_bytes(records), count, false);
        };
        REQUIRE(append(bytes, 1));
        const auto flags = [&](LogOffset at) {
            const std::string stored = f.at.store->record_at(at).value();
            return wire::parse_record(as_bytes(stored)).value().sys_flag;
        };
        const Appended two = append(bytes + bytes, 2).value();
        CHECK(flags(two.first) == wire::sys_flag::kMoreFollow);
        CHECK(flags(two.first + static_cast<std::int64_t>(bytes.size())) == 0);
        wire::Record numbered;
        numbered.topic = "t";
        numbered.sys_flag = wire::sys_flag::kNumbered;
        std::string other(wire::record_bytes(numbered), '\0');
        wire::encode_record(numbered, {reinterpret_cast<std::byte*>(other.data()), other.size()});
        CHECK(code_of(append(other, 1)) == Errc::kRefused);          // without a number
        CHECK(code_of(append(bytes + other, 2)) == Errc::kRefused);  // in the middle
        // A copy of a record that the broker makes is nobody's numbered send.
        numbered.sys_flag |= wire::sys_flag::kMoreFollow | wire::sys_flag::kCompressed;
        const auto copied = f.at.store->append_messages(queue, {&numbered, 1});
        REQUIRE(copied);
        CHECK(flags(copied->first) == wire::sys_flag::kCompressed);
    }

    TEST_CASE("a topic that is deleted takes its producers' numbers with it, after a kill too") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        REQUIRE(f.send({1, 0, 0, {"a"}}));
        REQUIRE(f.send({1, 0, 0, {"a"}}, "u"));
        wire::StateRecord changes;
        changes.add_changes()->set_topicdelete("t");
        REQUIRE(f.at.store->state().commit(changes));
        CHECK(f.at.store->numbered_queues() == 1);
        CHECK_FALSE(f.send({1, 0, 0, {"a"}})->is_repeat);
        copy_store(f.at.options.directory, directory.path() / "killed");
        Fixture killed(directory.path() / "killed");
        CHECK(killed.at.store->numbered_queues() == 2);
        const auto again = killed.send({1, 0, 0, {"a"}});
        REQUIRE(again);
        CHECK(again->is_repeat);
        CHECK(again->queue_offset == QueueOffset(0));
    }

    TEST_CASE("a checkpoint amid sends has every frame that the log before it has") {
        Random random(wire::test_seed("checkpoint amid sends"));
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live", FlushMode::kSync);
        f.at.store.reset();
        f.at.options.checkpoint_bytes = 20'000;
        f.at.open();
        f.at.queue("t");
        std::vector<Stored> sent;
        Senders senders(random);
        for (int i = 0; i < 3'000; ++i) {
            const Frame frame = senders.next();
            const auto place = f.send(frame);
            REQUIRE(place);
            sent.push_back({frame, *place});
            if (i % 50 == 0) {
                f.at.store->flush_soon();
            }
            if (i % 600 == 599) {
                const LogOffset end = f.at.store->watermarks().appended;
                const fs::path path = directory.path() / "killed";
                copy_store(f.at.options.directory, path);
                Fixture killed(path);
                REQUIRE(killed.at.store->watermarks().appended == end);
                check_resent(killed, sent, end);
            }
        }
    }

    TEST_CASE("of the same frame on several threads at once, one is stored") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        f.at.queue("t");
        for (std::int64_t round = 0; round < 100; ++round) {
            std::atomic<int> stored{0};
            std::atomic<int> repeats{0};
            const Frame frame{1, 0, round * 2, {"a", "b"}};
            std::vector<std::thread> threads;
            for (int i = 0; i < 3; ++i) {
                threads.emplace_back([&] {
                    const std::string bytes = records_of(frame, "t");
                    const auto sent = f.at.store->append_records(
                        *f.at.store->find_topic("t")->queue(0), as_bytes(bytes), 2, false);
                    stored += sent && !sent->is_repeat ? 1 : 0;
                    repeats += sent && sent->is_repeat ? 1 : 0;
                });
            }
            for (std::thread& thread : threads) {
                thread.join();
            }
            CHECK(stored == 1);
            CHECK(repeats == 2);
        }
        CHECK(f.at.queue("t").max() == QueueOffset(200));
    }
}

}  // namespace gantry::storage
