// SPDX-License-Identifier: Apache-2.0
#include "tests/process/sync/fault_run.h"

#include "common/random.h"
#include "tests/harness/replication/replicated_group.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr const char* kTopicName = "T-copied";
constexpr int kQueues = 3;
constexpr std::chrono::minutes kSettles{5};
constexpr const char* kLinkHost = "127.0.2.1";  // where the target says it is

/// A cluster whose master can be killed: a lone broker, or a group that elects another.
class Side {
public:
    /// `host`: what its brokers give as their address.
    Side(std::size_t members, const std::string& host) {
        if (members == 1) {
            site_ = std::make_unique<Site>(1, Settings{{"broker.advertise_host", host}});
            return;
        }
        ReplicatedGroup::Options options;
        options.members = members;
        options.in_sync_min = members > 2 ? 2 : 1;
        options.flush = "async";
        options.settings = {{"broker.advertise_host", host},
                            {"store.segment_bytes", "32MiB"},
                            {"limits.message_bytes_max", "4MiB"}};
        auto started = ReplicatedGroup::start(options);
        REQUIRE_MESSAGE(started, (started ? "" : to_string(started.error())));
        group_ = std::move(started).value();
    }

    SiteView view() const {
        return SiteView(site_ ? site_->nameserver() : group_->nameserver().address());
    }

    std::vector<std::uint16_t> ports() const {
        std::vector<std::uint16_t> ports;
        for (std::size_t i = 0; i < (group_ ? group_->size() : 1); ++i) {
            ports.push_back(group_ ? group_->broker(i).port() : site_->cluster().broker().port());
        }
        return ports;
    }

    void kill_master() {
        if (site_) {
            site_->cluster().broker().kill();
            return;
        }
        const auto master = group_->wait_for_master();
        require_ok(master ? ok() : Status(master.error()));
        killed_ = *master;
        group_->broker(killed_).kill();
    }

    /// Somebody is master again, and what was killed runs.
    void heal() {
        if (site_) {
            require_ok(site_->cluster().broker().start());
            return;
        }
        const auto master = group_->wait_for_master(killed_);
        require_ok(master ? ok() : Status(master.error()));
        require_ok(group_->broker(killed_).start());
    }

private:
    std::unique_ptr<Site> site_;
    std::unique_ptr<ReplicatedGroup> group_;
    std::size_t killed_ = 0;
};

/// The link to a side: a proxy before each of its brokers.
class Link {
public:
    explicit Link(const Side& side) {
        for (const std::uint16_t port : side.ports()) {
            auto started = FaultyProxy::start(port, {kLinkHost, port});
            REQUIRE_MESSAGE(started, (started ? "" : to_string(started.error())));
            proxies_.push_back(std::move(started).value());
        }
    }

    template <class Do>
    void each(Do&& change) {
        for (const auto& proxy : proxies_) {
            change(*proxy);
        }
    }

private:
    std::vector<std::unique_ptr<FaultyProxy>> proxies_;
};

enum class Fault : std::uint8_t {
    kKillDaemon,
    kKillSource,
    kKillTarget,
    kKillAll,
    kCutLink,
    kSilence,
    kHold
};

constexpr std::array<std::string_view, 7> kNames = {"kill daemon",
                                                    "kill source",
                                                    "kill target",
                                                    "kill all",
                                                    "cut link",
                                                    "silent link",
                                                    "held link"};

class FaultRun {
public:
    explicit FaultRun(const FaultRunOptions& options)
        : options_(options),
          random_(options.seed),
          source_(options.members, "127.0.0.1"),
          target_(options.members, kLinkHost),
          link_(target_),
          from_(source_.view()),
          to_(target_.view()) {
        for (const char* const name : {"first", "second"}) {
            daemons_.push_back(std::make_unique<SyncProcess>(
                directory_.path(),
                name,
                routes_of({{"a", from_.nameserver()}, {"b", to_.nameserver()}},
                          route_of("r",
                                   "a",
                                   "b",
                                   "exclude = [\"T\"]\nframe_bytes = 8192\ntimeout_ms = 2000"))));
        }
    }

    FaultRunReport run() {
        from_.create(kTopicName, kQueues);
        for (const auto& daemon : daemons_) {
            daemon->start();
        }
        FaultRunReport report;
        report.seed = options_.seed;
        const auto begin = std::chrono::steady_clock::now();
        const auto past = [begin] {
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin);
        };
        Flood flood(from_, kTopicName, options_.per_second);
        while (past() < options_.length) {
            pause(options_.pause_max);
            const auto fault = static_cast<Fault>(random_.below(kNames.size()));
            const std::string name(kNames[static_cast<std::size_t>(fault)]);
            options_.say(std::to_string(past().count()) + " s, " + std::to_string(flood.sent()) +
                         " sent: " + name);
            inject(fault);
            ++report.done[name];
        }
        report.acknowledged = flood.end();
        report.seconds = past().count();
        settle(report);
        return report;
    }

private:
    void pause(milliseconds most) {
        constexpr std::uint64_t kLeast = 20;
        const auto ms = kLeast + random_.below(static_cast<std::uint64_t>(most.count()));
        std::this_thread::sleep_for(milliseconds(ms));  // sleeps: so come faults
    }

    void inject(Fault fault) {
        SyncProcess& daemon = *daemons_[random_.below(daemons_.size())];
        switch (fault) {
            case Fault::kKillDaemon:
                daemon.kill();
                daemon.start();
                break;
            case Fault::kKillSource:
                source_.kill_master();
                source_.heal();
                break;
            case Fault::kKillTarget:
                target_.kill_master();
                target_.heal();
                break;
            case Fault::kKillAll:
                source_.kill_master();
                target_.kill_master();
                daemon.kill();
                daemon.start();
                target_.heal();
                source_.heal();
                break;
            case Fault::kCutLink:
                link_.each([](FaultyProxy& proxy) { proxy.cut_once(); });
                break;
            case Fault::kSilence:
                link_.each([](FaultyProxy& proxy) { proxy.drop(); });
                pause(options_.silence_max);
                link_.each([](FaultyProxy& proxy) {
                    proxy.pass();
                    proxy.cut_once();  // what was thrown away is missing in what is open
                });
                break;
            case Fault::kHold:
                hold(random_.below(2) == 0 ? FaultyProxy::Direction::kToTarget
                                           : FaultyProxy::Direction::kToClient);
        }
    }

    void hold(FaultyProxy::Direction direction) {
        link_.each([direction](FaultyProxy& proxy) { proxy.hold(direction, true); });
        pause(options_.silence_max);
        link_.each([direction](FaultyProxy& proxy) { proxy.hold(direction, false); });
    }

    /// Waits until the target has as much, and compares.
    void settle(FaultRunReport& report) {
        REQUIRE(wait_until(kSettles, [&] {
            report.originals = from_.count(kTopicName);
            report.copies = to_.count(kTopicName);
            return report.originals >= report.acknowledged && report.copies >= report.originals;
        }));
        const std::vector<Found> copies = to_.read(kTopicName);
        report.copies = static_cast<std::int64_t>(copies.size());
        report.faults = compare(from_.read(kTopicName), copies);
    }

    const FaultRunOptions& options_;
    Random random_;
    TempDirectory directory_;
    Side source_;
    Side target_;
    Link link_;
    SiteView from_;
    SiteView to_;
    std::vector<std::unique_ptr<SyncProcess>> daemons_;
};

}  // namespace

std::string FaultRunReport::json() const {
    return nlohmann::ordered_json{{"seed", seed},
                                  {"seconds", seconds},
                                  {"faults", done},
                                  {"acknowledged", acknowledged},
                                  {"originals", originals},
                                  {"copies", copies},
                                  {"missing", faults.missing},
                                  {"twice", faults.twice},
                                  {"strange", faults.strange},
                                  {"disordered", faults.disordered}}
        .dump();
}

FaultRunReport run_faults(const FaultRunOptions& options) {
    return FaultRun(options).run();
}

}  // namespace gantry::harness
