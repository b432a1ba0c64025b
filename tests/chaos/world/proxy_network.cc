// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/world/network.h"
#include "tests/harness/faulty_proxy.h"
#include "tests/harness/sockets/free_port.h"

#include <chrono>
#include <map>
#include <utility>

namespace gantry::chaos {
namespace {

using harness::FaultyProxy;
using Direction = FaultyProxy::Direction;

constexpr const char* kLoopback = "127.0.0.1";
constexpr std::chrono::milliseconds kSlowDelay{100};
constexpr std::uint64_t kSlowRate = 500'000;

class ProxyNetwork final : public Network {
public:
    Status add_host(const std::string& host) override {
        hosts_.emplace(host, hosts_.size() + 1);
        return ok();
    }

    std::string listen_host(const std::string& /*host*/) const override { return kLoopback; }

    std::string address(const std::string& host) const override {
        return "127.0.1." + std::to_string(hosts_.at(host));
    }

    Result<std::uint16_t> pick_port(std::uint16_t /*wanted*/) const override {
        return harness::free_port();
    }

    Status publish(const std::string& host, std::uint16_t port) override {
        GANTRY_ASSIGN_OR_RETURN(auto proxy, FaultyProxy::start(port, {address(host), port}));
        lines_.push_back({"", host, std::move(proxy)});
        return ok();
    }

    Result<std::string> way(const std::string& from,
                            const std::string& to,
                            std::uint16_t port) override {
        GANTRY_ASSIGN_OR_RETURN(auto proxy, FaultyProxy::start(port));
        const std::string address = proxy->address();
        lines_.push_back({from, to, std::move(proxy)});
        return address;
    }

    std::vector<std::string> launcher(const std::string& /*host*/) const override { return {}; }

    Status cut(const std::string& from, const std::string& to) override {
        bool is_between = false;
        for (Line& line : lines_) {
            if (line.from == from && line.to == to) {
                line.proxy->hold(Direction::kToTarget, true);
                is_between = true;
            } else if (line.from == to && line.to == from) {
                line.proxy->hold(Direction::kToClient, true);
                is_between = true;
            }
        }
        for (Line& line : lines_) {
            if (!is_between && line.from.empty()) {
                if (line.to == to) {
                    line.proxy->hold(Direction::kToTarget, true);
                } else if (line.to == from) {
                    line.proxy->hold(Direction::kToClient, true);
                }
            }
        }
        return ok();
    }

    Status slow(const std::string& host) override {
        for (Line& line : lines_) {
            if (line.from == host || line.to == host) {
                line.proxy->delay(kSlowDelay);
                line.proxy->limit_rate(kSlowRate);
            }
        }
        return ok();
    }

    Status heal() override {
        for (Line& line : lines_) {
            line.proxy->hold(Direction::kToTarget, false);
            line.proxy->hold(Direction::kToClient, false);
            line.proxy->delay(std::chrono::milliseconds(0));
            line.proxy->limit_rate(0);
        }
        return ok();
    }

private:
    /// A proxy on the way between two hosts; from anywhere when `from` is empty.
    struct Line {
        std::string from;
        std::string to;
        std::unique_ptr<FaultyProxy> proxy;
    };

    std::map<std::string, std::size_t> hosts_;
    std::vector<Line> lines_;
};

}  // namespace

std::unique_ptr<Network> make_proxy_network() {
    return std::make_unique<ProxyNetwork>();
}

}  // namespace gantry::chaos
