// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/runner.h"

#include "tests/chaos/clients.h"
#include "tests/chaos/history/checker.h"
#include "tests/chaos/history/log_compare.h"
#include "tests/chaos/history/outages.h"
#include "tests/chaos/world/faults.h"
#include "tests/chaos/world/world.h"
#include "tests/harness/wait.h"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace gantry::chaos {
namespace {

namespace fs = std::filesystem;
using harness::Process;
using std::chrono::milliseconds;

constexpr milliseconds kWholeLimit{60'000};
constexpr milliseconds kClientLimit{60'000};
constexpr std::int32_t kQueues = 4;
constexpr std::uint64_t kMemoryAllowed = std::uint64_t{64} << 20U;
constexpr std::size_t kDescriptorsAllowed = 32;

/// The end of what a process wrote to standard error, where it says why it ended.
std::string last_words(const Process& process) {
    constexpr std::size_t kBytes = 600;
    const std::string text = process.err();
    return text.substr(text.size() - std::min(text.size(), kBytes));
}

/// A run under way.
class Run {
public:
    Run(const RunOptions& options, const std::atomic<bool>& stops)
        : options_(options), stops_(stops) {}

    Result<bool> run() {
        GANTRY_ASSIGN_OR_RETURN(
            const std::vector<PlannedFault> plan,
            plan_faults(options_.seed, options_.length, options_.pause_max, options_.faults));
        say("seed " + std::to_string(options_.seed) + ", " + std::to_string(plan.size()) +
            " faults planned, files in " + options_.directory.string());
        GANTRY_TRY(start(plan));
        for (const PlannedFault& fault : plan) {
            if (stops_) {
                say("stopped early");
                break;
            }
            make(fault);
        }
        GANTRY_TRY(finish());
        return judge();
    }

private:
    /// How a client's process ends: by itself, or when it is told to.
    enum class Kind : std::uint8_t { kOnce, kProducer, kConsumer };

    struct ClientProcess {
        Kind kind;
        std::string name;
        std::unique_ptr<Process> process;
    };

    void say(const std::string& line) const {
        if (options_.say) {
            options_.say(line);
        }
    }

    /// Something is wrong that no history tells.
    void complain(const std::string& what) {
        say("BROKEN: " + what);
        complaints_.push_back(what);
    }

    Status start(const std::vector<PlannedFault>& plan) {
        std::unique_ptr<Network> network;
        if (options_.by_namespaces) {
            GANTRY_ASSIGN_OR_RETURN(network, make_namespace_network());
        } else {
            network = make_proxy_network();
        }
        World::Options wanted;
        wanted.directory = options_.directory;
        // Only then: under the library every look at a clock takes longer.
        wanted.has_fake_time = std::any_of(plan.begin(), plan.end(), [](const PlannedFault& fault) {
            return std::string_view(fault.kind->name) == "step clock";
        });
        GANTRY_ASSIGN_OR_RETURN(world_, World::start(std::move(network), wanted));
        for (const std::string& host : world_->client_hosts()) {
            GANTRY_ASSIGN_OR_RETURN(names_[host], world_->nameserver_way(host));
        }
        GANTRY_TRY(run_client(Kind::kOnce, "topic", "topic", "client1"));
        for (std::uint32_t i = 1; i <= options_.producers; ++i) {
            GANTRY_TRY(run_client(Kind::kProducer, "produce", "p" + std::to_string(i), "client1"));
        }
        for (const char* const name : {"push.1", "push.2"}) {
            GANTRY_TRY(run_client(Kind::kConsumer, "push", name, "client2"));
        }
        GANTRY_TRY(run_client(Kind::kConsumer, "pull", "pull.1", "client2"));
        harness::wait_until(options_.warm_up, [this] { return stops_.load(); });
        for (const auto& broker : world_->brokers()) {
            base_.push_back(broker->usage());
        }
        return ok();
    }

    /// Starts a client; one that ends by itself is waited for.
    Status run_client(Kind kind,
                      const std::string& what,
                      const std::string& name,
                      const std::string& host) {
        std::vector<std::string> command = world_->network().launcher(host);
        const std::vector<std::string> arguments{GANTRY_CHAOS_EXECUTABLE,
                                                 what,
                                                 "--nameserver",
                                                 names_.at(host),
                                                 "--name",
                                                 name,
                                                 "--history",
                                                 history(name).string(),
                                                 "--rate",
                                                 std::to_string(options_.per_second),
                                                 "--queues",
                                                 std::to_string(kQueues)};
        command.insert(command.end(), arguments.begin(), arguments.end());
        GANTRY_ASSIGN_OR_RETURN(
            std::unique_ptr<Process> process,
            Process::start(
                command.front(), {command.begin() + 1, command.end()}, options_.directory, name));
        clients_.push_back({kind, name, std::move(process)});
        return kind == Kind::kOnce ? await(clients_.back()) : ok();
    }

    fs::path history(const std::string& name) const {
        return options_.directory / (name + ".history");
    }

    static Status await(ClientProcess& client) {
        GANTRY_ASSIGN_OR_RETURN(const harness::ProcessExit exit,
                                client.process->wait_exit(kClientLimit));
        if (exit.code != 0) {
            return Error{Errc::kIo,
                         client.name + " ended with code " + std::to_string(exit.code) +
                             ", signal " + std::to_string(exit.signal) + ": " +
                             client.process->err()};
        }
        return ok();
    }

    void make(const PlannedFault& fault) {
        harness::wait_until(fault.pause, [this] { return stops_.load(); });
        look_for_dead();
        const milliseconds length = std::min(fault.length, options_.fault_max);
        Random random(fault.seed);
        const std::int64_t from = now_us();
        const Result<std::string> made = fault.kind->make(*world_, random);
        if (!made) {
            say(std::string("left out: ") + fault.kind->name + ": " + to_string(made.error()));
            recover(fault.kind->name);
            return;
        }
        say(std::string(fault.kind->name) + " (" + *made + ") for " +
            std::to_string(length.count()) + " ms");
        harness::wait_until(length, [this] { return stops_.load(); });
        recover(fault.kind->name);
        spans_.push_back({fault.kind->name, from, now_us()});
    }

    void recover(const std::string& kind) {
        look_for_dead();
        if (const Status mended = world_->mend(); !mended) {
            complain("after " + kind + ": " + to_string(mended.error()));
        }
        if (const Status whole = world_->wait_whole(kWholeLimit); !whole) {
            complain("after " + kind + ": " + to_string(whole.error()));
        }
    }

    void look_for_dead() {
        for (const auto& broker : world_->brokers()) {
            if (broker->has_died()) {
                complain(broker->name() + " ended by itself: " + last_words(*broker->process()));
                static_cast<void>(broker->start());
            }
        }
        for (ClientProcess& client : clients_) {
            if (client.kind != Kind::kOnce && !client.process->is_running() &&
                dead_.insert(client.name).second) {
                complain("client " + client.name + " ended: " + last_words(*client.process));
            }
        }
    }

    Status finish() {
        recover("all faults");
        end_clients(Kind::kProducer);
        // Whoever still receives writes; silence for a while is the end.
        std::uintmax_t size = 0;
        auto grown = std::chrono::steady_clock::now();
        harness::wait_until(kClientLimit, [&] {
            std::uintmax_t now = 0;
            for (const ClientProcess& client : clients_) {
                std::error_code error;
                const std::uintmax_t bytes = fs::file_size(history(client.name), error);
                now += error ? 0 : bytes;
            }
            if (std::exchange(size, now) != now) {
                grown = std::chrono::steady_clock::now();
            }
            return std::chrono::steady_clock::now() - grown > options_.silence;
        });
        end_clients(Kind::kConsumer);
        if (const Status whole = world_->wait_whole(kWholeLimit, true); !whole) {
            complain("at rest: " + to_string(whole.error()));
        }
        return run_client(Kind::kOnce, "drain", "drain", "client1");
    }

    void end_clients(Kind kind) {
        for (const ClientProcess& client : clients_) {
            if (client.kind == kind && client.process->is_running()) {
                ::kill(client.process->pid(), SIGTERM);
            }
        }
        for (ClientProcess& client : clients_) {
            if (client.kind == kind && dead_.count(client.name) == 0) {
                if (const Status ended = await(client); !ended) {
                    complain(to_string(ended.error()));
                }
            }
        }
    }

    Result<bool> judge() {
        History all;
        for (const ClientProcess& client : clients_) {
            if (client.name != "topic") {
                GANTRY_TRY(read_history(history(client.name), all));
            }
        }
        const std::vector<EpochMark> marks = epochs();
        const Verdict verdict = check(all, marks);
        compare_logs();
        compare_usage();
        say_lines(report(outages(all, spans_)));
        say_lines(report(verdict));
        say(std::to_string(marks.size()) + " epochs; " + std::to_string(complaints_.size()) +
            " complaints");
        for (const std::string& complaint : complaints_) {
            say("BROKEN  " + complaint);
        }
        const bool is_good = verdict.is_good() && complaints_.empty() && verdict.sends_ok > 0;
        say(std::string(is_good ? "GOOD" : "BAD") + ", seed " + std::to_string(options_.seed));
        return is_good;
    }

    void say_lines(const std::string& text) const {
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            say(line);
        }
    }

    /// With the masters as acknowledgements name them.
    std::vector<EpochMark> epochs() {
        const auto master = world_->master();
        auto marks = master ? epochs_of(world_->brokers()[*master]->data())
                            : Result<std::vector<EpochMark>>(Error{Errc::kGone, "no master"});
        if (!marks) {
            complain("epochs: " + to_string(marks.error()));
            return {};
        }
        for (EpochMark& mark : *marks) {
            const auto index = static_cast<std::size_t>(std::stoll(mark.member) - 1);
            if (index < world_->brokers().size()) {
                const Daemon& broker = *world_->brokers()[index];
                mark.member =
                    world_->network().address(broker.host()) + ":" + std::to_string(broker.port());
            }
        }
        return std::move(*marks);
    }

    /// Of the in-sync set, as far as it is confirmed.
    void compare_logs() {
        const auto master = world_->master();
        const auto said = master ? world_->status(*master)
                                 : Result<wire::ReplicaStatus>(Error{Errc::kGone, "no master"});
        if (!said) {
            complain("logs not compared: " + to_string(said.error()));
            return;
        }
        std::vector<fs::path> stores{world_->brokers()[*master]->data()};
        for (const wire::InSyncMember& member : said->insync()) {
            const auto index = static_cast<std::size_t>(member.member() - 1);
            if (index != *master) {
                stores.push_back(world_->brokers().at(index)->data());
            }
        }
        const Result<std::string> difference = log_difference(stores, said->confirmed());
        if (!difference || !difference->empty()) {
            complain(difference ? *difference : to_string(difference.error()));
            return;
        }
        say("logs of " + std::to_string(stores.size()) + " brokers are the same up to " +
            std::to_string(said->confirmed()));
    }

    void compare_usage() {
        for (std::size_t i = 0; i < world_->brokers().size(); ++i) {
            const auto [memory, descriptors] = world_->brokers()[i]->usage();
            const std::string told =
                world_->brokers()[i]->name() + ": memory " + std::to_string(base_[i].first >> 20U) +
                " -> " + std::to_string(memory >> 20U) + " MiB, descriptors " +
                std::to_string(base_[i].second) + " -> " + std::to_string(descriptors);
            say(told);
            // New segments are files too; a leak of one a fault goes beyond what is allowed.
            if (memory > base_[i].first * 3 / 2 + kMemoryAllowed ||
                descriptors > base_[i].second + kDescriptorsAllowed) {
                complain(told);
            }
        }
    }

    const RunOptions& options_;
    const std::atomic<bool>& stops_;
    std::unique_ptr<World> world_;
    std::map<std::string, std::string> names_;  ///< nameserver as each host reaches it
    std::vector<ClientProcess> clients_;
    std::vector<std::pair<std::uint64_t, std::size_t>> base_;
    std::vector<FaultSpan> spans_;
    std::vector<std::string> complaints_;
    std::set<std::string> dead_;  ///< clients, told once
};

}  // namespace

Result<bool> run_chaos(const RunOptions& options, const std::atomic<bool>& stops) {
    return Run(options, stops).run();
}

}  // namespace gantry::chaos
