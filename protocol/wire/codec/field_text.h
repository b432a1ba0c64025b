// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/codec/schema_plan.h"

#include <string>
#include <string_view>

namespace gantry::wire {

/// Position that means a field's only value, not an element of its list.
inline constexpr int kSingular = -1;

/// Appends a scalar value as text: decimal, "true", "0.5", or the string itself.
void append_scalar(std::string& out,
                   const google::protobuf::Message& message,
                   const google::protobuf::FieldDescriptor& field,
                   int index = kSingular);

/// Sets a scalar field, or appends to a repeated one, from its text as Java would parse it. False:
/// the text is no value of the field's type, or a string that is not UTF-8.
bool set_scalar(google::protobuf::Message& message,
                const google::protobuf::FieldDescriptor& field,
                std::string_view text);

/// "int32" and the like, for errors.
std::string_view type_name_of(const google::protobuf::FieldDescriptor& field) noexcept;

}  // namespace gantry::wire
