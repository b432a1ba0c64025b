// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/world/network.h"
#include "tests/harness/programs.h"

#include <filesystem>
#include <initializer_list>
#include <map>
#include <sstream>
#include <unistd.h>
#include <utility>

namespace gantry::chaos {
namespace {

constexpr const char* kNobodysCard = "02:00:00:00:00:99";
constexpr const char* kFolders[] = {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"};

/// Where a tool is, or its bare name.
std::string tool(const std::string& name) {
    for (const char* const folder : kFolders) {
        if (std::filesystem::exists(folder + name)) {
            return folder + name;
        }
    }
    return name;
}

/// Runs a tool with the words of `line`.
Status run(const std::string& name, const std::string& line) {
    std::istringstream words(line);
    std::vector<std::string> arguments;
    for (std::string word; words >> word;) {
        arguments.push_back(word);
    }
    GANTRY_ASSIGN_OR_RETURN(const harness::ProgramRun ran,
                            harness::run_program(tool(name), arguments));
    if (ran.code != 0) {
        return Error{Errc::kDenied, name + " " + line + ": " + ran.err};
    }
    return ok();
}

class NamespaceNetwork final : public Network {
public:
    NamespaceNetwork()
        : prefix_("gx" + std::to_string(::getpid())),
          subnet_("10." + std::to_string(64 + ::getpid() % 128) + "." +
                  std::to_string(::getpid() / 128 % 250) + ".") {}

    ~NamespaceNetwork() override {
        for (const auto& [host, number] : hosts_) {
            static_cast<void>(run("ip", "netns del " + space(host)));
            static_cast<void>(run("ip", "link del " + prefix_ + "v" + std::to_string(number)));
        }
        static_cast<void>(run("ip", "link del " + bridge()));
    }

    Status open() {
        GANTRY_TRY(run("ip", "link add " + bridge() + " type bridge"));
        GANTRY_TRY(run("ip", "addr add " + subnet_ + "254/24 dev " + bridge()));
        return run("ip", "link set " + bridge() + " up");
    }

    Status add_host(const std::string& host) override {
        const std::size_t number = hosts_.size() + 1;
        const std::string card = prefix_ + "v" + std::to_string(number);
        hosts_.emplace(host, number);
        const std::string in = "-n " + space(host) + " ";
        GANTRY_TRY(run("ip", "netns add " + space(host)));
        GANTRY_TRY(
            run("ip", "link add " + card + " type veth peer name eth0 netns " + space(host)));
        GANTRY_TRY(run("ip", "link set " + card + " master " + bridge() + " up"));
        GANTRY_TRY(run("ip", in + "addr add " + address(host) + "/24 dev eth0"));
        GANTRY_TRY(run("ip", in + "link set eth0 up"));
        return run("ip", in + "link set lo up");
    }

    std::string listen_host(const std::string& host) const override { return address(host); }

    std::string address(const std::string& host) const override {
        return subnet_ + std::to_string(hosts_.at(host));
    }

    Result<std::uint16_t> pick_port(std::uint16_t wanted) const override { return wanted; }

    Status publish(const std::string& /*host*/, std::uint16_t /*port*/) override { return ok(); }

    Result<std::string> way(const std::string& /*from*/,
                            const std::string& to,
                            std::uint16_t port) override {
        return address(to) + ":" + std::to_string(port);
    }

    std::vector<std::string> launcher(const std::string& host) const override {
        return {tool("ip"), "netns", "exec", space(host)};
    }

    Status cut(const std::string& from, const std::string& to) override {
        cuts_.emplace_back(from, to);
        return run("ip",
                   "-n " + space(from) + " neigh replace " + address(to) + " lladdr " +
                       kNobodysCard + " dev eth0 nud permanent");
    }

    Status slow(const std::string& host) override {
        slow_.push_back(host);
        return run("tc",
                   "-n " + space(host) +
                       " qdisc add dev eth0 root tbf rate 4mbit burst 16k latency 400ms");
    }

    Status heal() override {
        Status healed = ok();
        const auto mend = [&healed](const std::string& name, const std::string& line) {
            if (const Status ran = run(name, line); !ran && healed) {
                healed = ran;
            }
        };
        for (const auto& [from, to] : std::exchange(cuts_, {})) {
            mend("ip", "-n " + space(from) + " neigh del " + address(to) + " dev eth0");
        }
        for (const std::string& host : std::exchange(slow_, {})) {
            mend("tc", "-n " + space(host) + " qdisc del dev eth0 root");
        }
        return healed;
    }

private:
    std::string bridge() const { return prefix_ + "br"; }

    std::string space(const std::string& host) const {
        return prefix_ + "-" + std::to_string(hosts_.at(host));
    }

    const std::string prefix_;
    const std::string subnet_;
    std::map<std::string, std::size_t> hosts_;
    std::vector<std::pair<std::string, std::string>> cuts_;
    std::vector<std::string> slow_;
};

}  // namespace

Result<std::unique_ptr<Network>> make_namespace_network() {
    if (::geteuid() != 0) {
        return Error{Errc::kDenied, "network namespaces need root"};
    }
    auto network = std::make_unique<NamespaceNetwork>();
    GANTRY_TRY(network->open());
    GANTRY_TRY(network->add_host("probe"));
    return Result<std::unique_ptr<Network>>(std::move(network));
}

}  // namespace gantry::chaos
