// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/field_text.h"

#include "common/check.h"
#include "protocol/wire/codec/java_text.h"
#include "protocol/wire/codec/utf8.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <charconv>
#include <limits>
#include <optional>

namespace gantry::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

template <class T>
void append_integer(std::string& out, T value) {
    char text[24];
    const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
    out.append(text, end);
}

// Hands a parsed value to the setter or the adder of its type.
template <class T, class Set, class Add>
bool put(Message& message,
         const FieldDescriptor& field,
         const std::optional<T>& value,
         Set set,
         Add add) {
    if (!value) {
        return false;
    }
    const Reflection& reflection = *message.GetReflection();
    if (field.is_repeated()) {
        (reflection.*add)(&message, &field, *value);
    } else {
        (reflection.*set)(&message, &field, *value);
    }
    return true;
}

std::optional<std::uint32_t> parse_uint32(std::string_view text) noexcept {
    const auto wide = parse_uint64(text);
    if (!wide || *wide > std::numeric_limits<std::uint32_t>::max()) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(*wide);
}

bool put_string(Message& message, const FieldDescriptor& field, std::string_view text) {
    if (!is_utf8(text)) {
        return false;
    }
    const Reflection& reflection = *message.GetReflection();
    if (field.is_repeated()) {
        reflection.AddString(&message, &field, std::string(text));
    } else {
        reflection.SetString(&message, &field, std::string(text));
    }
    return true;
}

}  // namespace

void append_scalar(std::string& out,
                   const Message& message,
                   const FieldDescriptor& field,
                   int index) {
    const Reflection& r = *message.GetReflection();
    const bool one = index == kSingular;
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
            return append_integer(
                out,
                one ? r.GetInt32(message, &field) : r.GetRepeatedInt32(message, &field, index));
        case FieldDescriptor::CPPTYPE_INT64:
            return append_integer(
                out,
                one ? r.GetInt64(message, &field) : r.GetRepeatedInt64(message, &field, index));
        case FieldDescriptor::CPPTYPE_UINT32:
            return append_integer(
                out,
                one ? r.GetUInt32(message, &field) : r.GetRepeatedUInt32(message, &field, index));
        case FieldDescriptor::CPPTYPE_UINT64:
            return append_integer(
                out,
                one ? r.GetUInt64(message, &field) : r.GetRepeatedUInt64(message, &field, index));
        case FieldDescriptor::CPPTYPE_DOUBLE:
            return append_java_double(
                out,
                one ? r.GetDouble(message, &field) : r.GetRepeatedDouble(message, &field, index));
        case FieldDescriptor::CPPTYPE_BOOL:
            out += (one ? r.GetBool(message, &field) : r.GetRepeatedBool(message, &field, index))
                       ? "true"
                       : "false";
            return;
        case FieldDescriptor::CPPTYPE_STRING: {
            std::string scratch;
            out += one ? r.GetStringReference(message, &field, &scratch)
                       : r.GetRepeatedStringReference(message, &field, index, &scratch);
            return;
        }
        default:
            GANTRY_ASSERT(false);  // the schema uses no other type
    }
}

bool set_scalar(Message& message, const FieldDescriptor& field, std::string_view text) {
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
            return put(message,
                       field,
                       parse_java_int32(text),
                       &Reflection::SetInt32,
                       &Reflection::AddInt32);
        case FieldDescriptor::CPPTYPE_INT64:
            return put(message,
                       field,
                       parse_java_int64(text),
                       &Reflection::SetInt64,
                       &Reflection::AddInt64);
        case FieldDescriptor::CPPTYPE_UINT32:
            return put(
                message, field, parse_uint32(text), &Reflection::SetUInt32, &Reflection::AddUInt32);
        case FieldDescriptor::CPPTYPE_UINT64:
            return put(
                message, field, parse_uint64(text), &Reflection::SetUInt64, &Reflection::AddUInt64);
        case FieldDescriptor::CPPTYPE_DOUBLE:
            return put(message,
                       field,
                       parse_java_double(text),
                       &Reflection::SetDouble,
                       &Reflection::AddDouble);
        case FieldDescriptor::CPPTYPE_BOOL:
            return put(message,
                       field,
                       std::optional<bool>(parse_java_bool(text)),
                       &Reflection::SetBool,
                       &Reflection::AddBool);
        case FieldDescriptor::CPPTYPE_STRING:
            return put_string(message, field, text);
        default:
            return false;
    }
}

std::string_view type_name_of(const FieldDescriptor& field) noexcept {
    return field.cpp_type_name();
}

}  // namespace gantry::wire
