// SPDX-License-Identifier: Apache-2.0
#include "client/sharing.h"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace gantry::client {
namespace {

using Kind = Sharing::Kind;

std::vector<QueueId> queues_of(int count, const std::string& broker = "b") {
    std::vector<QueueId> queues;
    for (int i = 0; i < count; ++i) {
        queues.push_back(QueueId{"T", broker, i});
    }
    return queues;
}

std::vector<std::string> members_of(int count) {
    std::vector<std::string> members;
    for (int i = 0; i < count; ++i) {
        members.push_back("10.0.0." + std::to_string(i) + "@m");
    }
    return members;
}

/// What is before the first '-', of brokers and clients.
std::string zone_of(std::string_view name) {
    return std::string(name.substr(0, name.find('-')));
}

Sharing sharing_of(Kind kind) {
    Sharing sharing;
    sharing.kind = kind;
    sharing.zone_of_broker = zone_of;
    sharing.zone_of_client = zone_of;
    return sharing;
}

std::vector<int> numbers(const std::vector<QueueId>& queues) {
    std::vector<int> numbers;
    for (const QueueId& queue : queues) {
        numbers.push_back(queue.queue);
    }
    return numbers;
}

}  // namespace

TEST_SUITE("client/sharing") {
    TEST_CASE("by average the first members get ranges that are one longer") {
        const Sharing average;
        const std::vector<std::string> members{"c", "a", "b"};
        using Numbers = std::vector<int>;
        CHECK(numbers(share_of(average, queues_of(8), members, "a")) == Numbers{0, 1, 2});
        CHECK(numbers(share_of(average, queues_of(8), members, "b")) == Numbers{3, 4, 5});
        CHECK(numbers(share_of(average, queues_of(8), members, "c")) == Numbers{6, 7});
        CHECK(share_of(average, queues_of(1), {"a", "b"}, "b").empty());
    }

    TEST_CASE("in a circle each gets every so manieth") {
        const Sharing circle = sharing_of(Kind::kCircle);
        using Numbers = std::vector<int>;
        CHECK(numbers(share_of(circle, queues_of(8), {"c", "a", "b"}, "a")) == Numbers{0, 3, 6});
        CHECK(numbers(share_of(circle, queues_of(8), {"c", "a", "b"}, "c")) == Numbers{2, 5});
        CHECK(share_of(circle, queues_of(2), {"a", "b", "c"}, "c").empty());
    }

    TEST_CASE("every queue goes to exactly one member, whatever the way and the sizes") {
        for (const Kind kind : {Kind::kAverage, Kind::kCircle, Kind::kConsistentHash}) {
            for (int count = 0; count < 20; ++count) {
                for (int size = 1; size < 8; ++size) {
                    std::set<QueueId> seen;
                    std::size_t total = 0;
                    for (const std::string& member : members_of(size)) {
                        const auto share =
                            share_of(sharing_of(kind), queues_of(count), members_of(size), member);
                        seen.insert(share.begin(), share.end());
                        total += share.size();
                    }
                    CHECK(seen.size() == static_cast<std::size_t>(count));
                    CHECK(total == static_cast<std::size_t>(count));
                }
            }
        }
    }

    TEST_CASE("a stranger has no share, and doubles count once") {
        for (const Kind kind : {Kind::kAverage, Kind::kCircle, Kind::kConsistentHash}) {
            CHECK(share_of(sharing_of(kind), queues_of(4), {"a", "b"}, "stranger").empty());
            CHECK(share_of(sharing_of(kind), queues_of(4), {"a", "a"}, "a").size() == 4);
            CHECK(share_of(sharing_of(kind), {}, {"a"}, "a").empty());
        }
    }

    // The owners of queues 0 to 7 of both brokers, as the stock client 5.3.3 has them; the interop
    // tests ask it again.
    TEST_CASE("shares are the stock client's") {
        struct Way {
            Kind kind;
            std::string of_a;
            std::string of_b;
        };

        const std::vector<std::string> members{"10.0.0.1@a", "10.0.0.2@b", "10.0.0.3@c"};
        for (const Way& way : {Way{Kind::kAverage, "aaaaaabb", "bbbccccc"},
                               Way{Kind::kCircle, "abcabcab", "cabcabca"},
                               Way{Kind::kConsistentHash, "cbaccccb", "cbcbccac"}}) {
            std::map<QueueId, char> owners;
            std::vector<QueueId> queues;
            for (std::size_t i = 0; i < 16; ++i) {
                const bool is_a = i < 8;
                queues.push_back(
                    {"TopicTest", is_a ? "broker-a" : "broker-b", static_cast<int>(i % 8)});
                owners[queues.back()] = (is_a ? way.of_a : way.of_b)[i % 8];
            }
            std::map<QueueId, char> found;
            for (const std::string& member : members) {
                for (const QueueId& queue :
                     share_of(sharing_of(way.kind), queues, members, member)) {
                    found[queue] = member.back();
                }
            }
            CHECK(found == owners);
        }
    }

    TEST_CASE("on the ring only a part of the queues moves when a member leaves") {
        const Sharing ring = sharing_of(Kind::kConsistentHash);
        const std::vector<std::string> all = members_of(8);
        const std::vector<std::string> fewer(all.begin(), all.end() - 1);
        for (const std::string& member : fewer) {
            const auto before = share_of(ring, queues_of(200), all, member);
            const auto after = share_of(ring, queues_of(200), fewer, member);
            const std::set<QueueId> kept(after.begin(), after.end());
            for (const QueueId& queue : before) {
                CHECK(kept.count(queue) == 1);
            }
        }
    }

    TEST_CASE("by configuration a member has what is named, if it exists") {
        Sharing fixed = sharing_of(Kind::kFixed);
        fixed.fixed = {{"T", "b", 5}, {"T", "b", 1}, {"T", "b", 99}, {"OTHER", "b", 0}};
        CHECK(numbers(share_of(fixed, queues_of(8), {"a", "z"}, "z")) == std::vector<int>{5, 1});
        const std::vector<QueueId> retry{{"%RETRY%G", "b", 0}, {"%RETRY%G", "b", 1}};
        CHECK(numbers(share_of(fixed, retry, {"a", "z"}, "z")) == std::vector<int>{1});
        fixed.fixed.clear();
        CHECK(check_sharing(fixed).error().code == Errc::kRefused);
    }

    TEST_CASE("by zone queues stay near, and those of a zone without members go to all") {
        const Sharing zones = sharing_of(Kind::kZone);
        std::vector<QueueId> queues = queues_of(3, "east-1");
        for (const std::string broker : {"west-1", "north-1"}) {
            const std::vector<QueueId> more = queues_of(4, broker);
            queues.insert(queues.end(), more.begin(), more.end());
        }
        const std::vector<std::string> members{"east-m", "west-m", "west-n"};
        const auto share = [&](const std::string& member) {
            std::map<std::string, int> count;
            for (const QueueId& queue : share_of(zones, queues, members, member)) {
                ++count[zone_of(queue.broker)];
            }
            return count;
        };
        using Counts = std::map<std::string, int>;
        CHECK(share("east-m") == Counts{{"east", 3}, {"north", 2}});
        CHECK(share("west-m") == Counts{{"west", 2}, {"north", 1}});
        CHECK(share("west-n") == Counts{{"west", 2}, {"north", 1}});
        Sharing without = zones;
        without.zone_of_client = nullptr;
        CHECK(check_sharing(without).error().detail.find("zone_of_client") != std::string::npos);
        without.zone_of_broker = nullptr;
        CHECK(check_sharing(without).error().detail.find("zone_of_broker") != std::string::npos);
        CHECK(check_sharing(zones));
    }
}

}  // namespace gantry::client
