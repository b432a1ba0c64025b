// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/header.h"

#include <span>
#include <string>
#include <string_view>

namespace gantry::wire {

/// Fills a typed message from RocketMQ's extFields, driven by its descriptor. Names are the
/// schema's, or the one-letter ones of a V2 send. An empty text of a number or boolean counts as
/// absent. kRefused: a required field is missing, or a text does not parse.
Status fields_from_ext(std::span<const ExtField> ext, google::protobuf::Message& fields);

/// The errors of fields_from_ext.
Error missing_field_error(std::string_view name);
Error bad_field_error(std::string_view name, std::string_view text, std::string_view type);

/// Appends the scalar fields of `fields` that are set, in the order of the schema, by `append`
/// (out, name, text).
using AppendExt = void (*)(std::string& out, std::string_view name, std::string_view text);
void append_ext(std::string& out,
                const google::protobuf::Message& fields,
                bool short_names,
                AppendExt append);

}  // namespace gantry::wire
