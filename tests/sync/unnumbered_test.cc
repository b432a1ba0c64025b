// SPDX-License-Identifier: Apache-2.0
// Copies to a target that knows no numbers: it stores whatever comes.
#include "common/random.h"
#include "sync/copy/marks.h"
#include "sync/copy/queue_copier.h"
#include "sync/copy/target_tail.h"
#include "tests/sync/read_messages.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gantry::sync {
namespace {

using test::kFrameBytes;
using test::message_at;
using State = QueueCopier::State;

const client::QueueId kSource{"T", "b", 1};
constexpr std::size_t kFrameMessages = 10;

CopyRule rule_of(std::int64_t frame_bytes = 100'000) {
    CopyRule rule;
    rule.route = "r";
    rule.from = "a";
    rule.to = "b";
    rule.target_topic = "U";
    rule.is_numbered = false;
    rule.frame_messages = kFrameMessages;
    rule.frame_bytes = frame_bytes;
    return rule;
}

std::string property_of(const client::Message& message, std::string_view name) {
    for (const auto& [key, value] : message.properties) {
        if (key == name) {
            return value;
        }
    }
    return {};
}

/// Queues that store what comes, as source offsets.
class PlainTarget {
public:
    explicit PlainTarget(std::size_t queues) : stored(queues) {
        for (std::size_t i = 0; i < queues; ++i) {
            ids.push_back({"U", "x", static_cast<std::int32_t>(i)});
        }
    }

    void store(const client::CopiedFrame& frame) {
        for (const client::CopiedMessage& copied : frame.messages) {
            const auto from = parse_from(property_of(copied.message, mark::kFrom));
            REQUIRE(from.has_value());
            stored[static_cast<std::size_t>(frame.queue.queue)].push_back(from->offset);
        }
    }

    Recovery look(std::int64_t floor, std::int64_t inherited_end) const {
        constexpr std::ptrdiff_t kTail = 256;
        Recovery found;
        found.targets = ids;
        found.floor = floor;
        found.inherited_end = inherited_end;
        for (std::size_t i = 0; i < ids.size(); ++i) {
            const auto& queue = stored[i];
            found.known.emplace_back();
            const auto begin = queue.end() - std::min<std::ptrdiff_t>(kTail, std::ssize(queue));
            if (const auto last = std::max_element(begin, queue.end()); last != queue.end()) {
                found.known.back() =
                    client::StreamPosition{0, static_cast<std::int32_t>(i), 0, *last + 1};
            }
        }
        return found;
    }

    std::vector<client::QueueId> ids;
    std::vector<std::vector<std::int64_t>> stored;
};

Recovery at(std::optional<std::int64_t> next, std::int64_t floor, std::int64_t inherited_end = 0) {
    PlainTarget target(1);
    Recovery found = target.look(floor, inherited_end);
    if (next) {
        found.known[0] = client::StreamPosition{0, 0, 0, *next};
    }
    return found;
}

void offer(QueueCopier& copier, std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) {
        copier.offer(message_at(i, "x"));
    }
}

/// Daemons that follow each other. What one has under way when it is killed, or has an error,
/// arrives when it likes, or never. Sometimes others' messages hide the end of a target queue.
class Succession {
public:
    Succession(std::uint64_t seed, std::size_t queues, std::int64_t messages)
        : random_(seed), target_(queues), messages_(messages) {}

    void run() {
        while (copier_ == nullptr || copier_->done() < messages_) {
            if (copier_ == nullptr || random_.below(50) == 0) {
                bear();
            } else if (copier_->state() == State::kWaiting) {
                recover(copier_->done(), messages_);
            } else {
                work();
            }
        }
        repeats_ += copier_->counts().repeats;
    }

    void check() const {
        std::uint64_t twice = 0;
        std::size_t there = 0;
        for (const std::vector<std::int64_t>& queue : target_.stored) {
            std::set<std::int64_t> seen;
            for (const std::int64_t offset : queue) {
                const bool is_first = seen.insert(offset).second;
                REQUIRE((!is_first || *seen.rbegin() == offset));  // behind all before it
                twice += is_first ? 0 : 1;
            }
            there += seen.size();
        }
        CHECK(there == static_cast<std::size_t>(messages_));
        CHECK(repeats_ >= twice);
    }

private:
    /// kill -9, and the next one.
    void bear() {
        const bool is_first = copier_ == nullptr;
        if (!is_first) {
            repeats_ += copier_->counts().repeats;
            strand();
        }
        CopyRule rule = rule_of();
        rule.mapping = target_.ids.size() > 1 ? QueueMapping::kByKey : QueueMapping::kSame;
        copier_ = std::make_unique<QueueCopier>(kSource, rule, 77);
        recover(committed_, is_first ? 0 : messages_);
    }

    void strand() {
        late_.insert(late_.end(), flying_.begin(), flying_.end());
        flying_.clear();
    }

    void recover(std::int64_t floor, std::int64_t inherited_end) {
        Recovery found = target_.look(floor, inherited_end);
        for (auto& known : found.known) {
            if (random_.below(4) == 0) {
                known.reset();
            }
        }
        copier_->begin_recovery();
        read_ = copier_->recovered(found);
    }

    void work() {
        const std::uint64_t count = random_.below(20);
        for (std::uint64_t i = 0; i < count && read_ < messages_; ++i, ++read_) {
            copier_->offer(message_at(
                read_, std::to_string(read_), {{"KEYS", "k" + std::to_string(read_ % 7)}}));
        }
        if (!late_.empty() && random_.below(10) == 0) {
            const client::CopiedFrame frame = take(late_);
            if (random_.below(4) != 0) {
                target_.store(frame);
            }
        }
        if (copier_->has_frame() && random_.below(2) == 0) {
            flying_.push_back(copier_->next_frame(kFrameBytes));
        } else if (!flying_.empty()) {
            answer();
        }
        committed_ = random_.below(10) == 0 ? copier_->done() : committed_;
    }

    client::CopiedFrame take(std::vector<client::CopiedFrame>& frames) {
        const auto one = frames.begin() + static_cast<std::ptrdiff_t>(random_.below(frames.size()));
        client::CopiedFrame frame = std::move(*one);
        frames.erase(one);
        return frame;
    }

    void answer() {
        const client::CopiedFrame frame = take(flying_);
        const std::uint64_t fate = random_.below(20);
        if (fate > 0) {
            target_.store(frame);
        }
        if (fate > 1) {
            copier_->stored(frame.queue.queue, frame.first);
        } else {
            copier_->failed({Errc::kUnknown, "cut"}, SteadyTime{}, random_);
            strand();
        }
    }

    Random random_;
    PlainTarget target_;
    const std::int64_t messages_;
    std::unique_ptr<QueueCopier> copier_;
    std::vector<client::CopiedFrame> flying_;
    std::vector<client::CopiedFrame> late_;
    std::int64_t read_ = 0;
    std::int64_t committed_ = 0;
    std::uint64_t repeats_ = 0;
};

}  // namespace

TEST_SUITE("sync/unnumbered") {
    TEST_CASE("one frame is under way at a time, of any span, and names its route") {
        QueueCopier copier(kSource, rule_of(), 77);
        copier.begin_recovery();
        constexpr std::int64_t kFar = std::int64_t{1} << 33U;
        CHECK(copier.recovered(at(std::nullopt, kFar)) == kFar);
        offer(copier, kFar, kFar + 15);
        const client::CopiedFrame first = copier.next_frame(kFrameBytes);
        CHECK(first.messages.size() == kFrameMessages);
        CHECK(first.span == kFrameMessages);
        CHECK(property_of(first.messages.front().message, "GANTRY_ROUTE") == "r");
        CHECK_FALSE(copier.has_frame());
        copier.stored(0, first.first);
        REQUIRE(copier.has_frame());
        CHECK(copier.next_frame(kFrameBytes).messages.size() == 5);
        CHECK(copier.counts().repeats == 0);
    }

    TEST_CASE(
        "it goes on behind what is committed or seen, and never thinks that copies are gone") {
        QueueCopier copier(kSource, rule_of(), 77);
        copier.begin_recovery();
        std::optional<std::int64_t> seen;
        std::int64_t expected = 100;
        SUBCASE("more is seen than was committed") {
            seen = expected = 120;
        }
        SUBCASE("less is seen") {
            seen = 50;
        }
        SUBCASE("nothing of this queue is seen") {}
        Recovery found = at(seen, 100);
        found.covered = 1'000;
        CHECK(copier.recovered(found) == expected);
        CHECK(copier.counts().rewinds == 0);
        CHECK(copier.covered() == 0);
    }

    TEST_CASE("what was acknowledged is not sent again, though nobody sees it yet") {
        Random random(1);
        QueueCopier copier(kSource, rule_of(), 77);
        copier.begin_recovery();
        copier.recovered(at(std::nullopt, 0));
        offer(copier, 0, 15);
        copier.stored(0, copier.next_frame(kFrameBytes).first);
        copier.next_frame(kFrameBytes);  // [10, 15)
        copier.failed({Errc::kTimeout, "no answer"}, SteadyTime{}, random);
        copier.begin_recovery();
        CHECK(copier.recovered(at(5, copier.done())) == 10);
        CHECK(copier.counts().rewinds == 0);
        offer(copier, 10, 20);
        copier.next_frame(kFrameBytes);
        CHECK(copier.counts().repeats == 5);
    }

    TEST_CASE("of another's frame under way as much is counted as one holds, below the old end") {
        QueueCopier copier(kSource, rule_of(), 77);
        copier.begin_recovery();
        std::optional<std::int64_t> seen = 100;
        std::int64_t end = 0;
        std::uint64_t expected = 0;
        SUBCASE("nobody came before") {}
        SUBCASE("little was left to copy") {
            end = 104;
            expected = 4;
        }
        SUBCASE("a frame is full") {
            end = 1'000;
            expected = kFrameMessages;
        }
        SUBCASE("where the other was cannot be seen") {
            seen.reset();
            end = 150;
            expected = 50;
        }
        copier.recovered(at(seen, 100, end));
        offer(copier, 100, 103);
        copier.stored(0, copier.next_frame(kFrameBytes).first);
        offer(copier, 103, 200);
        while (copier.has_frame()) {
            copier.stored(0, copier.next_frame(kFrameBytes).first);
        }
        CHECK(copier.counts().repeats == expected);
    }

    TEST_CASE("what is refused is found among what is sent with it") {
        Random random(1);
        CopyRule rule = rule_of();
        rule.on_loss = OnLoss::kContinue;
        QueueCopier copier(kSource, rule, 77);
        std::vector<std::int64_t> stored;
        while (copier.done() < 30) {
            copier.begin_recovery();
            const std::int64_t next = stored.empty() ? 0 : stored.back() + 1;
            const std::int64_t from = copier.recovered(at(next, copier.done()));
            offer(copier, from, 30);
            while (copier.has_frame()) {
                const client::CopiedFrame frame = copier.next_frame(kFrameBytes);
                bool is_refused = false;
                for (const client::CopiedMessage& copied : frame.messages) {
                    const auto offset =
                        parse_from(property_of(copied.message, mark::kFrom))->offset;
                    is_refused = is_refused || offset == 13;
                    if (!is_refused) {  // as batches: what is before it may be stored
                        stored.push_back(offset);
                    }
                }
                if (is_refused) {
                    copier.refused(
                        frame.first, {Errc::kRefused, "too large"}, SteadyTime{}, random);
                } else {
                    copier.stored(0, frame.first);
                }
            }
        }
        CHECK(copier.counts().lost == 1);
        CHECK(stored.size() == 29);
        CHECK(std::is_sorted(stored.begin(), stored.end()));
        CHECK(std::count(stored.begin(), stored.end(), 13) == 0);
    }

    TEST_CASE("where a route is in a target's tail: behind the last of its own copies") {
        const auto copy = [](std::int64_t offset,
                             const std::string& from,
                             const std::string& route = "r",
                             const std::string& hops = "z,a") {
            return message_at(
                offset,
                "x",
                {{"GANTRY_FROM", from}, {"GANTRY_HOPS", hops}, {"GANTRY_ROUTE", route}});
        };
        const std::vector<client::MessageView> messages{copy(1, "T/b/1/40"),
                                                        copy(2, "T/b/1/42"),
                                                        copy(3, "T/b/1/41"),       // came late
                                                        copy(4, "T/b/2/99"),       // of another
                                                        copy(5, "T/b/1/98", "s"),  // by another
                                                        copy(6, "T/b/1/97", "r", "c"),
                                                        message_at(7, "x")};
        CHECK(position_in(messages, "r", "a", kSource) == 43);
        CHECK(position_in(messages, "s", "a", kSource) == 99);
        CHECK(position_in(messages, "r", "c", kSource) == 98);
        CHECK_FALSE(position_in(messages, "t", "a", kSource).has_value());
        CHECK_FALSE(position_in({}, "r", "a", kSource).has_value());
    }

    TEST_CASE("daemons that die with a frame under way: nothing is missing, repeats are counted") {
        const char* const given = std::getenv("GANTRY_TEST_SEED");
        const std::uint64_t first =
            given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
        for (std::uint64_t seed = first; seed < first + 10; ++seed) {
            INFO("GANTRY_TEST_SEED=", seed);
            Succession daemons(seed, seed % 2 == 0 ? 1 : 3, 2'000);
            daemons.run();
            daemons.check();
        }
    }
}

}  // namespace gantry::sync
