// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/world/faults.h"

#include "tests/harness/faults/syscall_faults.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>

namespace gantry::chaos {
namespace {

using std::chrono::milliseconds;
using Made = Result<std::string>;

Error nobody() {
    return Error{Errc::kNotFound, "there is no master at the moment"};
}

Result<Daemon*> master_of(World& world) {
    const auto index = world.master();
    if (!index) {
        return nobody();
    }
    return world.brokers()[*index].get();
}

Result<Daemon*> slave_of(World& world, Random& random) {
    const auto index = world.master();
    const std::size_t count = world.brokers().size();
    if (!index || count < 2) {
        return nobody();
    }
    return world.brokers()[(*index + 1 + random.below(count - 1)) % count].get();
}

Daemon& any_of(std::vector<std::unique_ptr<Daemon>>& daemons, Random& random) {
    return *daemons[random.below(daemons.size())];
}

/// Both ways.
Status part(World& world, const std::string& a, const std::string& b) {
    GANTRY_TRY(world.network().cut(a, b));
    return world.network().cut(b, a);
}

Made kill_master(World& world, Random& /*random*/) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    master->kill();
    return master->name();
}

Made kill_slave(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const slave, slave_of(world, random));
    slave->kill();
    return slave->name();
}

Made kill_all(World& world, Random& /*random*/) {
    for (const auto& broker : world.brokers()) {
        broker->kill();
    }
    return std::string("every broker");
}

Made end_master(World& world, Random& /*random*/) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    master->terminate();
    return master->name();
}

Made freeze_master(World& world, Random& /*random*/) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    master->freeze();
    return master->name();
}

Made freeze_slave(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const slave, slave_of(world, random));
    slave->freeze();
    return slave->name();
}

Made isolate_master(World& world, Random& /*random*/) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    for (const auto* group : {&world.brokers(), &world.etcds()}) {
        for (const auto& other : *group) {
            if (other.get() != master) {
                GANTRY_TRY(part(world, master->host(), other->host()));
            }
        }
    }
    GANTRY_TRY(part(world, master->host(), world.nameserver().host()));
    for (const std::string& client : world.client_hosts()) {
        GANTRY_TRY(part(world, master->host(), client));
    }
    return master->name();
}

/// The master and its clients on one side, everybody else on the other.
Made part_master_with_clients(World& world, Random& /*random*/) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    for (const auto* group : {&world.brokers(), &world.etcds()}) {
        for (const auto& other : *group) {
            if (other.get() != master) {
                GANTRY_TRY(part(world, master->host(), other->host()));
            }
        }
    }
    return master->name();
}

Made part_from_slave(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    GANTRY_ASSIGN_OR_RETURN(Daemon* const slave, slave_of(world, random));
    GANTRY_TRY(part(world, master->host(), slave->host()));
    return master->name() + " and " + slave->name();
}

Made deaf_slave(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    GANTRY_ASSIGN_OR_RETURN(Daemon* const slave, slave_of(world, random));
    GANTRY_TRY(world.network().cut(master->host(), slave->host()));
    return slave->name() + " does not hear " + master->name();
}

Made deaf_master(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    GANTRY_ASSIGN_OR_RETURN(Daemon* const slave, slave_of(world, random));
    GANTRY_TRY(world.network().cut(slave->host(), master->host()));
    return master->name() + " does not hear " + slave->name();
}

/// One way, or both, by chance.
Status part_from_etcd(World& world, const Daemon& broker, Random& random) {
    const std::uint64_t ways = random.below(3);
    for (const auto& etcd : world.etcds()) {
        if (ways != 0) {
            GANTRY_TRY(world.network().cut(broker.host(), etcd->host()));
        }
        if (ways != 1) {
            GANTRY_TRY(world.network().cut(etcd->host(), broker.host()));
        }
    }
    return ok();
}

Made part_master_from_etcd(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    GANTRY_TRY(part_from_etcd(world, *master, random));
    return master->name();
}

Made part_slave_from_etcd(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const slave, slave_of(world, random));
    GANTRY_TRY(part_from_etcd(world, *slave, random));
    return slave->name();
}

Made part_from_nameserver(World& world, Random& random) {
    const Daemon& broker = any_of(world.brokers(), random);
    GANTRY_TRY(part(world, broker.host(), world.nameserver().host()));
    return broker.name();
}

Made kill_nameserver(World& world, Random& /*random*/) {
    world.nameserver().kill();
    return world.nameserver().name();
}

Made slow_line(World& world, Random& random) {
    const Daemon& broker = any_of(world.brokers(), random);
    GANTRY_TRY(world.network().slow(broker.host()));
    return broker.name();
}

Made slow_disk(World& world, Random& random) {
    Daemon& broker = any_of(world.brokers(), random);
    if (!broker.is_running()) {
        return nobody();
    }
    auto faults = harness::SyscallFaults::attach(
        broker.process()->pid(), "log-flush", "fdatasync:delay_enter=300ms");
    if (!faults) {
        return Error{Errc::kUnsupported, faults.error().detail};
    }
    world.on_mend(
        [held = std::shared_ptr<harness::SyscallFaults>(std::move(faults).value())]() mutable {
            held.reset();
            return ok();
        });
    return broker.name();
}

Made kill_etcd(World& world, Random& random) {
    Daemon& etcd = any_of(world.etcds(), random);
    etcd.kill();
    return etcd.name();
}

Made freeze_etcd_leader(World& world, Random& /*random*/) {
    const auto leader = world.etcd_leader();
    if (!leader) {
        return Error{Errc::kUnsupported, "nobody says who leads etcd"};
    }
    world.etcds()[*leader]->freeze();
    return world.etcds()[*leader]->name();
}

Made freeze_most_etcds(World& world, Random& random) {
    const std::size_t count = world.etcds().size();
    const std::size_t spared = random.below(count);
    for (std::size_t i = 0; i < count; ++i) {
        if (i != spared || count < 3) {
            world.etcds()[i]->freeze();
        }
    }
    return "all but " + world.etcds()[spared]->name();
}

Made new_disk(World& world, Random& random) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const slave, slave_of(world, random));
    GANTRY_TRY(slave->wipe());
    GANTRY_TRY(slave->start());
    return slave->name();
}

Made new_disk_of_master(World& world, Random& /*random*/) {
    GANTRY_ASSIGN_OR_RETURN(Daemon* const master, master_of(world));
    GANTRY_TRY(master->wipe());
    GANTRY_TRY(master->start());
    return master->name();
}

Made step_clock(World& world, Random& random) {
    const std::filesystem::path file = world.fake_time();
    if (file.empty()) {
        return Error{Errc::kUnsupported, "libfaketime is not installed (package faketime)"};
    }
    const std::string step = random.below(2) == 0 ? "+3600" : "-3600";
    std::ofstream(file) << step << "\n";
    world.on_mend([file] {
        std::ofstream(file) << "+0\n";
        return ok();
    });
    return "every broker, " + step + " s";
}

}  // namespace

const std::vector<FaultKind>& fault_kinds() {
    constexpr milliseconds kShort{1'000};
    constexpr milliseconds kMiddle{4'000};
    constexpr milliseconds kLong{12'000};
    static const std::vector<FaultKind> kinds{
        {"kill master", 5, kMiddle, kLong, kill_master},
        {"kill slave", 3, kShort, kLong, kill_slave},
        {"kill all", 1, kShort, kMiddle, kill_all},
        {"end master", 3, kMiddle, kLong, end_master},
        {"freeze master", 3, kShort, milliseconds(10'000), freeze_master},
        {"freeze slave", 2, kShort, milliseconds(10'000), freeze_slave},
        {"isolate master", 3, kLong, milliseconds(20'000), isolate_master},
        {"part master with clients", 2, kLong, milliseconds(20'000), part_master_with_clients},
        {"part master and slave", 2, kMiddle, kLong, part_from_slave},
        {"slave deaf to master", 2, kMiddle, kLong, deaf_slave},
        {"master deaf to slave", 2, kMiddle, kLong, deaf_master},
        {"part master from etcd", 2, kMiddle, kLong, part_master_from_etcd},
        {"part slave from etcd", 1, kMiddle, kLong, part_slave_from_etcd},
        {"part from nameserver", 1, kMiddle, kLong, part_from_nameserver},
        {"kill nameserver", 1, kShort, kMiddle, kill_nameserver},
        {"slow line", 2, kMiddle, kLong, slow_line},
        {"slow disk", 1, kMiddle, kLong, slow_disk},
        {"kill etcd", 1, kShort, kLong, kill_etcd},
        {"freeze etcd leader", 1, kShort, kLong, freeze_etcd_leader},
        {"freeze most etcds", 1, kShort, kLong, freeze_most_etcds},
        {"new disk", 1, kMiddle, kLong, new_disk},
        {"new disk of master", 1, kMiddle, kLong, new_disk_of_master},
        {"step clock", 1, kShort, kMiddle, step_clock},
    };
    return kinds;
}

Result<std::vector<PlannedFault>> plan_faults(std::uint64_t seed,
                                              milliseconds length,
                                              milliseconds pause_max,
                                              const std::vector<std::string>& names) {
    std::vector<const FaultKind*> urn;
    std::size_t found = 0;
    for (const FaultKind& kind : fault_kinds()) {
        if (names.empty() || std::find(names.begin(), names.end(), kind.name) != names.end()) {
            urn.insert(urn.end(), kind.weight, &kind);
            ++found;
        }
    }
    if (!names.empty() && found != names.size()) {
        return Error{Errc::kRefused, "a fault that there is not; see gantry-chaos faults"};
    }
    Random random(seed);
    const auto between = [&random](milliseconds least, milliseconds most) {
        return least +
               milliseconds(random.below(static_cast<std::uint64_t>((most - least).count()) + 1));
    };
    std::vector<PlannedFault> plan;
    for (milliseconds at{0}; at < length;) {
        const FaultKind* const kind = urn[random.below(urn.size())];
        const PlannedFault fault{kind,
                                 between(pause_max / 4, pause_max),
                                 between(kind->least, kind->most),
                                 random.next()};
        at += fault.pause + fault.length;
        plan.push_back(fault);
    }
    return plan;
}

}  // namespace gantry::chaos
