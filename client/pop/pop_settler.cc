// SPDX-License-Identifier: Apache-2.0
#include "client/pop/pop_settler.h"

#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "common/log.h"
#include "protocol/wire/message.pb.h"

#include <algorithm>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kRequestLimit{3'000};
constexpr milliseconds kPause{100};        // before what failed is said again
constexpr std::size_t kItemsMax = 16'384;  // of one request

}  // namespace

std::vector<PopRun> runs_of(std::span<const PoppedMessage> messages) {
    std::vector<PopRun> runs;
    for (const PoppedMessage& message : messages) {
        const std::int64_t at = message.queue_offset();
        if (!runs.empty()) {
            PopRun& last = runs.back();
            if (last.end == at && last.receipt.pop_ms == message.pop_ms() &&
                last.receipt.queue == message.queue() && last.receipt.topic == message.topic() &&
                last.receipt.broker == message.broker()) {
                last.end = at + 1;
                continue;
            }
        }
        runs.push_back(
            {{message.broker(), std::string(message.topic()), message.queue(), message.pop_ms()},
             at,
             at + 1});
    }
    return runs;
}

PopSettler::PopSettler(Runtime& runtime, LoopSlot& slot, std::string group, milliseconds patience)
    : runtime_(runtime),
      slot_(slot),
      group_(std::move(group)),
      patience_(patience),
      acked_(runtime.metrics().counter("gantry_client_pop_acked_total",
                                       "Popped messages that a broker knows to be done.")),
      stale_(runtime.metrics().counter("gantry_client_pop_stale_total",
                                       "Popped messages acknowledged or renewed too late.")),
      given_up_(runtime.metrics().counter(
          "gantry_client_pop_settles_given_up_total",
          "Runs of popped messages that no broker could be told of in time.")) {}

void PopSettler::settle(std::vector<PopRun> runs, const Fate& fate) {
    if (runs.empty()) {
        return;
    }
    const SteadyTime deadline = std::chrono::steady_clock::now() + patience_;
    const MutexLock lock(mutex_);
    unsettled_ += runs.size();
    for (PopRun& run : runs) {
        items_.push_back({std::move(run), fate, deadline});
    }
    if (!is_posted_) {
        is_posted_ = true;
        post_send();
    }
}

void PopSettler::post_send() {
    slot_.post([self = shared_from_this()] { self->send_in_loop(); });
}

bool PopSettler::wait_settled(SteadyTime deadline) {
    MutexLock lock(mutex_);
    bool is_in_time = true;
    while (unsettled_ > 0 && is_in_time) {
        is_in_time = lock.wait_until(changed_, deadline);
    }
    return unsettled_ == 0;
}

void PopSettler::send_in_loop() {
    Items items;
    {
        const MutexLock lock(mutex_);
        is_posted_ = false;
        items.swap(items_);
    }
    std::map<std::pair<std::string, std::string>, Items> by_target;
    for (Item& item : items) {
        const std::string address = runtime_.routes().master_of(item.run.receipt.broker);
        Items& target = by_target[{item.run.receipt.topic, address}];
        target.push_back(std::move(item));
        if (target.size() == kItemsMax) {
            const std::string topic = target.front().run.receipt.topic;
            send_in_loop(topic, address, std::exchange(target, {}));
        }
    }
    for (auto& [target, some] : by_target) {
        if (!some.empty()) {
            send_in_loop(target.first, target.second, std::move(some));
        }
    }
}

void PopSettler::send_in_loop(const std::string& topic, const std::string& address, Items items) {
    if (address.empty()) {
        again(std::move(items), {Errc::kGone, "no route names its broker"});
        return;
    }
    wire::SettlePopsRequest fields;
    fields.set_consumergroup(group_);
    fields.set_topic(topic);
    for (const Item& item : items) {
        auto& settle = *fields.add_settles();
        settle.set_queueid(item.run.receipt.queue);
        settle.set_poptime(item.run.receipt.pop_ms);
        settle.set_from(item.run.from);
        settle.set_count(item.run.end - item.run.from);
        if (item.fate.invisible) {
            settle.set_invisibletime(item.fate.invisible->count());
            settle.set_undelivered(item.fate.is_undelivered);
        }
    }
    slot_.channel(address).call(
        {wire::RequestCode::kSettlePops, &fields, {}},
        kRequestLimit,
        [self = shared_from_this(), items = std::move(items), address](
            Result<net::Received>& result) mutable { self->answered(items, result, address); });
}

void PopSettler::answered(Items& items, Result<net::Received>& result, const std::string& address) {
    const Result<wire::SettlePopsResponse> answer =
        fields_of<wire::SettlePopsResponse>(result, address);
    if (!answer) {
        again(std::move(items), answer.error());
        return;
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::int64_t wanted = items[i].run.end - items[i].run.from;
        const std::int64_t settled =
            static_cast<int>(i) < answer->settled_size() ? answer->settled(static_cast<int>(i)) : 0;
        if (!items[i].fate.invisible) {
            acked_.add(static_cast<std::uint64_t>(settled));
        }
        stale_.add(static_cast<std::uint64_t>(std::max<std::int64_t>(wanted - settled, 0)));
    }
    done_with(items.size());
}

/// Said twice is said once: the broker knows a receipt that is settled.
void PopSettler::again(Items items, const Error& why) {
    const bool is_final = why.code == Errc::kClosed || why.code == Errc::kRefused ||
                          why.code == Errc::kNotFound || why.code == Errc::kDenied;
    const SteadyTime now = std::chrono::steady_clock::now();
    const auto rest =
        is_final ? items.begin() : std::partition(items.begin(), items.end(), [&](const Item& i) {
            return now + kPause < i.deadline;
        });
    if (rest != items.end()) {
        given_up_.add(static_cast<std::uint64_t>(items.end() - rest));
        kLog.warn("pop_settle_given_up",
                  {{"runs", static_cast<std::int64_t>(items.end() - rest)}, {"error", why}});
        done_with(static_cast<std::size_t>(items.end() - rest));
        items.erase(rest, items.end());
    }
    if (items.empty()) {
        return;
    }
    const MutexLock lock(mutex_);
    std::move(items.begin(), items.end(), std::back_inserter(items_));
    if (!is_posted_) {
        is_posted_ = true;
        slot_.post_after(kPause, [self = shared_from_this()] { self->send_in_loop(); });
    }
}

void PopSettler::done_with(std::size_t count) {
    const MutexLock lock(mutex_);
    unsettled_ -= count;
    if (unsettled_ == 0) {
        changed_.notify_all();
    }
}

}  // namespace gantry::client
