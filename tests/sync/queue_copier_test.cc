// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/queue_copier.h"

#include "common/random.h"
#include "sync/copy/marks.h"
#include "tests/sync/read_messages.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::sync {
namespace {

using test::kFrameBytes;
using test::message_at;
using State = QueueCopier::State;

const client::QueueId kSource{"T", "b", 1};
constexpr std::uint64_t kStream = 77;

/// A target's queues, that take numbered frames as a broker does.
class FakeTarget {
public:
    explicit FakeTarget(std::size_t queues) {
        for (std::size_t i = 0; i < queues; ++i) {
            ids.push_back({"U", "x", static_cast<std::int32_t>(i)});
        }
        stored.resize(queues);
        next.resize(queues, -1);
    }

    Status store(const client::CopiedFrame& frame) {
        const auto at = static_cast<std::size_t>(frame.queue.queue);
        if (frame.first != std::max<std::int64_t>(next[at], 0)) {
            return Error{Errc::kConflict, "numbers"};
        }
        for (const client::CopiedMessage& copied : frame.messages) {
            if (copied.message.body == refuses) {
                return Error{Errc::kRefused, "too large"};
            }
        }
        for (const client::CopiedMessage& copied : frame.messages) {
            stored[at].push_back(copied.message.body);
        }
        next[at] = frame.first + frame.span;
        return ok();
    }

    Recovery positions(std::int64_t floor, std::int64_t covered) const {
        Recovery found;
        found.targets = ids;
        found.floor = floor;
        found.covered = covered;
        for (std::size_t i = 0; i < ids.size(); ++i) {
            found.known.emplace_back();
            if (next[i] >= 0) {
                found.known.back() =
                    client::StreamPosition{kStream, static_cast<std::int32_t>(i), 0, next[i]};
            }
        }
        return found;
    }

    std::vector<client::QueueId> ids;
    std::vector<std::vector<std::string>> stored;
    std::vector<std::int64_t> next;
    std::string refuses;
};

CopyRule rule_of(QueueMapping mapping = QueueMapping::kSame) {
    CopyRule rule;
    rule.from = "a";
    rule.to = "b";
    rule.target_topic = "U";
    rule.mapping = mapping;
    rule.frame_bytes = 1'000;
    rule.window_bytes = 20'000;
    return rule;
}

/// Sends everything and has it answered at once.
void settle(QueueCopier& copier, FakeTarget& target, Random& random) {
    while (copier.has_frame()) {
        const client::CopiedFrame frame = copier.next_frame(kFrameBytes);
        const Status stored = target.store(frame);
        if (stored) {
            copier.stored(frame.queue.queue, frame.first);
        } else if (stored.error().code == Errc::kRefused) {
            copier.refused(frame.first, stored.error(), SteadyTime{}, random);
        } else {
            copier.failed(stored.error(), SteadyTime{}, random);
        }
    }
}

/// Recovers and copies [0, end) until all is done, or it stands.
void run(QueueCopier& copier, FakeTarget& target, std::int64_t end, Random& random) {
    while (copier.state() != State::kStands && copier.done() < end) {
        copier.begin_recovery();
        std::int64_t at = copier.recovered(target.positions(copier.done(), copier.covered()));
        while (copier.state() == State::kRunning && at < end) {
            copier.offer(message_at(at, std::to_string(at)));
            ++at;
            settle(copier, target, random);
        }
    }
}

std::vector<std::string> numbers(std::int64_t from, std::int64_t to) {
    std::vector<std::string> all;
    for (std::int64_t i = from; i < to; ++i) {
        all.push_back(std::to_string(i));
    }
    return all;
}

/// A frame under way, and the generation it was sent in.
struct Sent {
    client::CopiedFrame frame;
    std::uint64_t generation = 0;
};

/// One run of a daemon: its copier, and what it has under way.
struct Life {
    std::unique_ptr<QueueCopier> copier;
    std::deque<Sent> wire;  ///< arrives in this order, also after its death
    std::int64_t read = 0;
};

/// A source of which some messages are not wanted, any number of daemons that die, and a network
/// that delivers what they sent whenever it likes.
class World {
public:
    World(std::uint64_t seed, std::size_t queues, std::int64_t messages)
        : random_(seed), target_(queues), messages_(messages), mapping_(queues > 1) {}

    void run() {
        for (int step = 0; step < 4'000; ++step) {
            this->step();
        }
        lives_.front().wire.clear();
        for (Life& life : lives_) {  // what is late arrives at last, or never does
            while (!life.wire.empty()) {
                deliver(life);
            }
        }
        Life last = born();
        while (last.copier->done() < messages_) {
            live(last);
            while (!last.wire.empty()) {
                deliver(last);
            }
        }
    }

    void check() const {
        std::size_t count = 0;
        std::size_t expected = 0;
        for (std::int64_t i = 0; i < messages_; ++i) {
            expected += is_wanted(i) ? 1 : 0;
        }
        for (const std::vector<std::string>& queue : target_.stored) {
            std::int64_t before = -1;
            for (const std::string& body : queue) {
                const std::int64_t number = std::stoll(body);
                REQUIRE(number > before);
                REQUIRE(is_wanted(number));
                before = number;
            }
            count += queue.size();
        }
        CHECK(count == expected);
    }

private:
    static bool is_wanted(std::int64_t offset) { return offset % 7 != 3 && offset % 100 < 80; }

    Life born() {
        Life life;
        life.copier = std::make_unique<QueueCopier>(
            kSource, rule_of(mapping_ ? QueueMapping::kByKey : QueueMapping::kSame), kStream);
        return life;
    }

    client::MessageView message(std::int64_t offset) const {
        std::map<std::string, std::string> properties{{"KEYS", "k" + std::to_string(offset % 5)}};
        if (!is_wanted(offset)) {
            properties["GANTRY_ORIGIN"] = "b";
        }
        return message_at(offset, std::to_string(offset), properties);
    }

    void step() {
        if (lives_.empty() || random_.below(60) == 0) {
            lives_.push_back(born());
        }
        Life& life = lives_[random_.below(lives_.size())];
        if (random_.below(80) == 0) {
            life.copier.reset();  // kill -9: what it sent is still on its way
        }
        switch (random_.below(3)) {
            case 0:
                if (!life.wire.empty()) {
                    deliver(life);
                }
                break;
            case 1:
                if (random_.below(100) == 0) {
                    life.wire.clear();  // its connection is cut
                    if (life.copier != nullptr) {
                        life.copier->failed({Errc::kUnknown, "cut"}, SteadyTime{}, random_);
                    }
                }
                break;
            default:
                if (life.copier != nullptr) {
                    live(life);
                }
        }
    }

    /// A little of a daemon's work.
    void live(Life& life) {
        QueueCopier& copier = *life.copier;
        if (copier.state() == State::kWaiting) {
            copier.begin_recovery();
            const bool is_first = copier.targets().empty();
            life.read = copier.recovered(target_.positions(is_first ? committed_ : copier.done(),
                                                           is_first ? covered_ : copier.covered()));
        }
        for (std::uint64_t i = 0; i < 1 + random_.below(20) && life.read < messages_; ++i) {
            copier.offer(message(life.read++));
        }
        while (copier.has_frame()) {
            const auto most = static_cast<std::int64_t>(random_.below(2'000));
            life.wire.push_back({copier.next_frame(most), copier.generation()});
        }
        if (random_.below(10) == 0) {
            committed_ = copier.done();
            covered_ = copier.covered();
        }
    }

    void deliver(Life& life) {
        const Sent sent = std::move(life.wire.front());
        const client::CopiedFrame& frame = sent.frame;
        life.wire.pop_front();
        const Status stored = target_.store(frame);
        if (life.copier == nullptr || life.copier->generation() != sent.generation) {
            return;
        }
        if (stored) {
            life.copier->stored(frame.queue.queue, frame.first);
        } else {
            life.copier->failed(stored.error(), SteadyTime{}, random_);
        }
    }

    Random random_;
    FakeTarget target_;
    const std::int64_t messages_;
    const bool mapping_;
    std::deque<Life> lives_;
    std::int64_t committed_ = 0;
    std::int64_t covered_ = 0;
};

}  // namespace

TEST_SUITE("sync/queue_copier") {
    TEST_CASE("frames are numbered by source offsets, with what is not wanted in their span") {
        QueueCopier copier(kSource, rule_of(), kStream);
        FakeTarget target(1);
        copier.begin_recovery();
        CHECK(copier.recovered(target.positions(100, 0)) == 100);
        copier.offer(message_at(100, "x"));
        copier.offer(message_at(101, "y", {{"GANTRY_ORIGIN", "b"}}));
        copier.offer(message_at(104, "z"));
        REQUIRE(copier.has_frame());
        const client::CopiedFrame frame = copier.next_frame(kFrameBytes);
        CHECK(frame.first == 0);
        CHECK(frame.span == 105);
        CHECK(frame.messages.size() == 2);
        CHECK(copier.done() == 100);
        copier.stored(0, 0);
        CHECK(copier.done() == 105);
        CHECK(copier.covered() == 105);
        CHECK(copier.counts().skipped == 1);
        copier.passed(200);  // a filter let nothing through
        CHECK(copier.done() == 200);
        copier.offer(message_at(200, "w"));
        CHECK(copier.next_frame(kFrameBytes).first == 105);
    }

    TEST_CASE("a frame stands for 2^32 - 1 offsets at most, what lies further apart stands") {
        constexpr std::int64_t kMost = client::CopiedFrame::kSpanMax;
        QueueCopier copier(kSource, rule_of(), kStream);
        FakeTarget target(1);
        copier.begin_recovery();
        copier.recovered(target.positions(kMost - 1, 0));
        copier.offer(message_at(kMost - 1, "x"));
        copier.offer(message_at(kMost, "y"));  // would fit the frame but for its span
        const client::CopiedFrame first = copier.next_frame(kFrameBytes);
        CHECK(first.span == kMost);
        CHECK(first.messages.size() == 1);
        const client::CopiedFrame second = copier.next_frame(kFrameBytes);
        CHECK(second.first == kMost);
        CHECK(second.span == 1);
        copier.stored(0, 0);
        copier.stored(0, kMost);
        copier.offer(message_at(2 * kMost + 1, "z"));
        CHECK(copier.state() == State::kStands);
        CHECK(copier.reason() ==
              "the message at offset 8589934591 would be in a frame from 4294967296 on, that "
              "stands for more offsets than 4294967295");
        CHECK(copier.done() == 2 * kMost + 1);
    }

    TEST_CASE("what a target that knows nothing may have got twice is counted") {
        Random random(1);
        QueueCopier copier(kSource, rule_of(), kStream);
        FakeTarget target(1);
        copier.begin_recovery();
        copier.recovered(target.positions(0, 0));
        for (std::int64_t i = 0; i < 5; ++i) {
            copier.offer(message_at(i, "x"));
        }
        while (copier.has_frame()) {
            copier.next_frame(kFrameBytes);
        }
        copier.failed({Errc::kTimeout, "no answer"}, SteadyTime{}, random);
        SUBCASE("it cannot say") {
            run(copier, target, 8, random);
            CHECK(copier.counts().repeats == 5);
        }
        SUBCASE("it says where it was") {
            target.next[0] = 3;
            run(copier, target, 8, random);
            CHECK(target.stored[0] == numbers(3, 8));
            CHECK(copier.counts().repeats == 0);
            CHECK(copier.counts().messages == 8);  // the three that were not answered, too
        }
    }

    TEST_CASE("one of several target queues that goes back is seen, whatever the others have") {
        Random random(1);
        QueueCopier copier(kSource, rule_of(QueueMapping::kByKey), kStream);
        FakeTarget target(2);
        copier.begin_recovery();
        copier.recovered(target.positions(0, 0));
        for (std::int64_t i = 0; i < 20; ++i) {
            copier.offer(message_at(i, "x", {{"KEYS", "k" + std::to_string(i)}}));
        }
        settle(copier, target, random);
        REQUIRE(copier.done() == 20);
        target.next[0] = 4;
        target.next[1] = 100;
        copier.failed({Errc::kUnknown, "cut"}, SteadyTime{}, random);
        copier.begin_recovery();
        CHECK(copier.recovered(target.positions(copier.done(), copier.covered())) == 4);
        CHECK(copier.counts().rewinds == 1);
    }

    TEST_CASE("what is committed is behind everything that is not answered") {
        QueueCopier copier(kSource, rule_of(), kStream);
        FakeTarget target(1);
        copier.begin_recovery();
        copier.recovered(target.positions(0, 0));
        for (std::int64_t i = 0; i < 10; ++i) {
            copier.offer(message_at(i, std::string(400, 'x')));
        }
        std::vector<client::CopiedFrame> frames;
        while (copier.has_frame()) {
            frames.push_back(copier.next_frame(kFrameBytes));
        }
        REQUIRE(frames.size() > 3);
        copier.stored(0, frames[1].first);
        CHECK(copier.done() == 0);
        copier.stored(0, frames[0].first);
        CHECK(copier.done() == frames[2].first);
    }

    TEST_CASE("a window that is full stops it") {
        QueueCopier copier(kSource, rule_of(), kStream);
        FakeTarget target(1);
        copier.begin_recovery();
        copier.recovered(target.positions(0, 0));
        std::int64_t at = 0;
        while (copier.wants_more() && at < 1'000) {
            copier.offer(message_at(at++, std::string(500, 'x')));
            while (copier.has_frame()) {
                copier.next_frame(kFrameBytes);
            }
        }
        CHECK(at < 60);
        CHECK(copier.flying() > 10);
    }

    TEST_CASE("a target that has lost messages gets them again") {
        Random random(1);
        QueueCopier copier(kSource, rule_of(), kStream);
        FakeTarget target(1);
        run(copier, target, 50, random);
        CHECK(target.stored[0] == numbers(0, 50));
        target.stored[0].resize(20);
        target.next[0] = 20;
        copier.failed({Errc::kConflict, "gap"}, SteadyTime{}, random);
        copier.begin_recovery();
        CHECK(copier.recovered(target.positions(copier.done(), copier.covered())) == 20);
        CHECK(copier.counts().rewinds == 1);
        run(copier, target, 60, random);
        CHECK(target.stored[0] == numbers(0, 60));
    }

    TEST_CASE("what the target refuses stops the queue, or is passed over, alone") {
        Random random(1);
        FakeTarget target(1);
        target.refuses = "13";
        CopyRule rule = rule_of();
        SUBCASE("stop") {
            QueueCopier copier(kSource, rule, kStream);
            run(copier, target, 30, random);
            CHECK(copier.state() == State::kStands);
            CHECK(copier.reason().find("offset 13") != std::string::npos);
            CHECK(target.stored[0] == numbers(0, 13));
            CHECK(copier.done() == 13);
        }
        SUBCASE("continue") {
            rule.on_loss = OnLoss::kContinue;
            QueueCopier copier(kSource, rule, kStream);
            run(copier, target, 30, random);
            std::vector<std::string> expected = numbers(0, 30);
            expected.erase(expected.begin() + 13);
            CHECK(target.stored[0] == expected);
            CHECK(copier.counts().lost == 1);
        }
    }

    TEST_CASE("what is gone at the source stops the queue, or is counted") {
        FakeTarget target(1);
        CopyRule rule = rule_of();
        const client::LostMessages lost{kSource, 5, 9, client::LostReason::kOutOfRange};
        SUBCASE("stop") {
            QueueCopier copier(kSource, rule, kStream);
            copier.begin_recovery();
            copier.recovered(target.positions(5, 0));
            copier.lost(lost);
            CHECK(copier.state() == State::kStands);
            CHECK(copier.reason() == "messages 5 to 8 are gone at the source: out_of_range");
            CHECK(copier.done() == 5);
        }
        SUBCASE("continue") {
            rule.on_loss = OnLoss::kContinue;
            QueueCopier copier(kSource, rule, kStream);
            copier.begin_recovery();
            copier.recovered(target.positions(5, 0));
            copier.lost(lost);
            CHECK(copier.state() == State::kRunning);
            CHECK(copier.done() == 9);
            CHECK(copier.counts().lost == 4);
        }
    }

    TEST_CASE(
        "daemons that die, run side by side, and frames that come late: each once, in order") {
        const char* const given = std::getenv("GANTRY_TEST_SEED");
        const std::uint64_t first =
            given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
        for (std::uint64_t seed = first; seed < first + 20; ++seed) {
            INFO("GANTRY_TEST_SEED=", seed);
            World world(seed, seed % 2 == 0 ? 1 : 3, 2'000);
            world.run();
            world.check();
        }
    }
}

}  // namespace gantry::sync
