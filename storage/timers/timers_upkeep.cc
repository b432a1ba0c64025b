// SPDX-License-Identifier: Apache-2.0
// The part of Timers that cancels, lists, stores again, and says from where the log must stay.
#include "protocol/wire/properties.h"
#include "storage/store_parts.h"
#include "storage/timers/timers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::size_t kUnitsAtOnce = 512;
constexpr std::size_t kRollAtOnce = 256;

TimerEntry entry_of(const QueueUnit& unit) noexcept {
    return {std::max<WallMs>(unit.tag, 0), unit.at, unit.size};
}

/// The properties of a record that is stored again.
std::string rolled_properties(std::string_view properties) {
    const std::string_view text = wire::find_property(properties, wire::property::kTimerRollTimes);
    std::int32_t times = 0;
    std::from_chars(text.data(), text.data() + text.size(), times);
    std::string rolled = wire::without_property(properties, wire::property::kTimerRollTimes);
    if (!rolled.empty() && rolled.back() != wire::kPropertySeparator) {
        rolled += wire::kPropertySeparator;
    }
    static_cast<void>(
        wire::append_property(rolled, wire::property::kTimerRollTimes, std::to_string(times + 1)));
    return rolled;
}

}  // namespace

Result<LogOffset> Timers::cancel(const TimerEntry& timer, std::size_t cancelled_max) {
    wire::StateRecord changes;
    wire::TimerCancel& cancel = *changes.add_changes()->mutable_timercancel();
    cancel.set_at(timer.at.value);
    cancel.set_due(timer.due);
    const auto may = [&]() -> Status {
        if (table().what(timer) != TimerTable::What::kWaiting) {
            return Error{Errc::kGone, "it waits no longer: it was delivered, or cancelled before"};
        }
        if (const std::size_t count = table().cancelled(); count >= cancelled_max) {
            return Error{Errc::kBusy,
                         std::to_string(count) +
                             " messages are cancelled and not due yet, delay.cancelled_max " +
                             std::to_string(cancelled_max)};
        }
        return ok();
    };
    GANTRY_ASSIGN_OR_RETURN(const Appended logged, parts_.state->commit_if(changes, may));
    return logged.end;
}

std::int64_t Timers::scan(std::int64_t from,
                          std::size_t units_max,
                          const std::function<bool(const TimerEntry&)>& each) const {
    const auto held = parts_.state->offset(kTimerGroup, kTimerTopic, wheel_->queue_id);
    QueueOffset at = std::max({wheel_->min(), QueueOffset(held.value_or(0)), QueueOffset(from)});
    const LogOffset confirmed = parts_.confirmed();
    std::array<QueueUnit, kUnitsAtOnce> units;
    while (units_max > 0) {
        const std::size_t count =
            wheel_->index->read(at, std::span(units).first(std::min(units_max, units.size())));
        for (std::size_t i = 0; i < count; ++i) {
            const QueueUnit& unit = units[i];
            if (!unit.is_hole() && unit.end() > confirmed) {
                return -1;
            }
            at += 1;
            if (!unit.is_hole() && table().is_waiting(entry_of(unit)) && !each(entry_of(unit))) {
                return at.value;
            }
        }
        if (count == 0) {
            return -1;
        }
        units_max -= count;
    }
    return at.value;
}

/// What is cancelled needs its record no more.
void Timers::advance_hold() {
    std::array<QueueUnit, kUnitsAtOnce> units;
    hold_ = std::max(hold_, wheel_->min());
    while (hold_ < folded_) {
        const std::size_t count = wheel_->index->read(hold_, units);
        for (std::size_t i = 0; i < count && hold_ < folded_; ++i) {
            const bool waits = !units[i].is_hole() && units[i].at >= rolled_ &&
                               table().is_waiting(entry_of(units[i]));
            if (waits) {
                return;
            }
            hold_ += 1;
        }
        if (count == 0) {
            return;
        }
    }
}

Result<bool> Timers::roll(WallMs stored_before) {
    advance_hold();
    std::vector<TimerEntry> old;
    GANTRY_ASSIGN_OR_RETURN(const bool has_more, collect_old(stored_before, old));
    if (old.empty()) {
        return false;
    }
    GANTRY_TRY(store_again(old));
    rolled_ = old.back().at + 1;
    GANTRY_TRY(commit());
    return has_more;
}

/// The first that wait, as long as they were stored before. True: there may be more.
Result<bool> Timers::collect_old(WallMs stored_before, std::vector<TimerEntry>& old) {
    std::array<QueueUnit, kRollAtOnce> units;
    if (hold_ >= folded_) {
        return false;
    }
    const std::size_t count = wheel_->index->read(hold_, units);
    for (std::size_t i = 0; i < count; ++i) {
        if (units[i].is_hole() || !table().is_waiting(entry_of(units[i]))) {
            continue;
        }
        const WallMs stored = parts_.store_time_of(units[i].at);
        if (stored >= stored_before) {
            return false;
        }
        old.push_back(entry_of(units[i]));
    }
    return count == units.size();
}

Status Timers::store_again(std::span<const TimerEntry> old) {
    std::vector<std::string> bytes;
    std::vector<std::string> properties;
    bytes.reserve(old.size());
    properties.reserve(old.size());
    TimerBatch again;
    again.queue = wheel_;
    for (const TimerEntry& timer : old) {
        Result<std::string> copy = parts_.record_at(timer.at);
        if (!copy && copy.error().code != Errc::kCorrupt && copy.error().code != Errc::kNotFound) {
            return copy.error();
        }
        if (!copy) {
            continue;  // lost to damage
        }
        bytes.push_back(std::move(*copy));
        GANTRY_ASSIGN_OR_RETURN(wire::Record record, wire::parse_record(as_bytes(bytes.back())));
        properties.push_back(rolled_properties(record.properties));
        record.properties = properties.back();
        again.records.push_back(record);
        again.timers.push_back(timer);
    }
    std::uint64_t refused = 0;
    GANTRY_ASSIGN_OR_RETURN(const std::size_t stored, deliver({&again, 1}, refused));
    dead_ += static_cast<std::int64_t>(stored);
    return ok();
}

}  // namespace gantry::storage
