// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/ext_fields.h"

#include "protocol/wire/codec/field_text.h"
#include "protocol/wire/codec/schema_plan.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

namespace gantry::wire {
namespace {

using google::protobuf::FieldDescriptor;

constexpr std::size_t kShownBytesMax = 64;

bool is_text(const FieldDescriptor& field) noexcept {
    return field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
}

bool is_ext(const FieldDescriptor& field) noexcept {
    return !field.is_repeated() && field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE;
}

}  // namespace

Error missing_field_error(std::string_view name) {
    return Error{Errc::kRefused, "the custom field <" + std::string(name) + "> is null"};
}

Error bad_field_error(std::string_view name, std::string_view text, std::string_view type) {
    return Error{Errc::kRefused,
                 "field " + std::string(name) + ": \"" +
                     std::string(text.substr(0, kShownBytesMax)) + "\" is no " + std::string(type)};
}

Status fields_from_ext(std::span<const ExtField> ext, google::protobuf::Message& fields) {
    fields.Clear();
    const MessagePlan& plan = plan_of(*fields.GetDescriptor());
    for (const ExtField& each : ext) {
        const FieldPlan* const known = plan.find(each.name);
        if (known == nullptr || !is_ext(*known->field) ||
            (each.value.empty() && !is_text(*known->field))) {
            continue;
        }
        if (!set_scalar(fields, *known->field, each.value)) {
            return bad_field_error(known->name, each.value, type_name_of(*known->field));
        }
    }
    const std::string_view missing = missing_field(plan, fields);
    if (!missing.empty()) {
        return missing_field_error(missing);
    }
    return ok();
}

void append_ext(std::string& out,
                const google::protobuf::Message& fields,
                bool short_names,
                AppendExt append) {
    const auto& reflection = *fields.GetReflection();
    std::string text;
    for (const FieldPlan& each : plan_of(*fields.GetDescriptor()).fields()) {
        if (!is_ext(*each.field) || !reflection.HasField(fields, each.field)) {
            continue;
        }
        text.clear();
        append_scalar(text, fields, *each.field);
        append(out, short_names && !each.short_name.empty() ? each.short_name : each.name, text);
    }
}

}  // namespace gantry::wire
