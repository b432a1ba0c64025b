// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/schema_plan.h"

#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/options.pb.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <memory>
#include <unordered_map>

namespace gantry::wire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

FieldPlan make_field_plan(const FieldDescriptor& field) {
    const auto& options = field.options();
    FieldPlan plan;
    plan.field = &field;
    plan.name = options.HasExtension(json_key) ? options.GetExtension(json_key) : field.name();
    plan.short_name = options.GetExtension(short_name);
    plan.is_required = options.GetExtension(required);
    plan.is_object_key_map = options.GetExtension(object_key_map);
    plan.is_absent_when_empty = options.GetExtension(absent_when_empty);
    const auto& names = options.GetRepeatedExtension(ordinal_name);
    plan.ordinal_names.assign(names.begin(), names.end());
    return plan;
}

}  // namespace

MessagePlan::MessagePlan(const Descriptor& type)
    : is_plain_list_(&type == StringList::descriptor()) {
    fields_.reserve(static_cast<std::size_t>(type.field_count()));
    for (int i = 0; i < type.field_count(); ++i) {
        fields_.push_back(make_field_plan(*type.field(i)));
        has_required_ = has_required_ || fields_.back().is_required;
    }
    for (std::size_t i = 0; i < fields_.size(); ++i) {
        alphabetical_.push_back(i);
        by_name_.push_back({fields_[i].name, i});
        if (!fields_[i].short_name.empty()) {
            by_name_.push_back({fields_[i].short_name, i});
        }
    }
    std::sort(alphabetical_.begin(), alphabetical_.end(), [this](std::size_t a, std::size_t b) {
        return fields_[a].name < fields_[b].name;
    });
    std::sort(by_name_.begin(), by_name_.end(), [](const Entry& a, const Entry& b) {
        return a.name < b.name;
    });
}

const FieldPlan* MessagePlan::find(std::string_view name) const noexcept {
    const auto at = std::lower_bound(
        by_name_.begin(), by_name_.end(), name, [](const Entry& entry, std::string_view wanted) {
            return entry.name < wanted;
        });
    return at != by_name_.end() && at->name == name ? &fields_[at->index] : nullptr;
}

const MessagePlan& plan_of(const Descriptor& type) {
    // A copy per thread needs no lock on the way of every request.
    thread_local std::unordered_map<const Descriptor*, std::unique_ptr<const MessagePlan>> plans;
    auto& plan = plans[&type];
    if (!plan) {
        plan = std::make_unique<const MessagePlan>(type);
    }
    return *plan;
}

std::string_view missing_field(const MessagePlan& plan, const google::protobuf::Message& message) {
    if (!plan.has_required()) {
        return {};
    }
    const auto& reflection = *message.GetReflection();
    for (const FieldPlan& each : plan.fields()) {
        if (each.is_required && !reflection.HasField(message, each.field)) {
            return each.name;
        }
    }
    return {};
}

void silence_protobuf_log() noexcept {
    static const bool is_done = [] {
        google::protobuf::SetLogHandler(nullptr);
        return true;
    }();
    static_cast<void>(is_done);
}

}  // namespace gantry::wire
