// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace gantry::wire {

/// One field of a typed message with what its options say.
struct FieldPlan {
    const google::protobuf::FieldDescriptor* field = nullptr;
    std::string name;        ///< in extFields and JSON
    std::string short_name;  ///< in the extFields of a V2 send; empty: none
    bool is_required = false;
    bool is_object_key_map = false;
    bool is_absent_when_empty = false;
    std::vector<std::string> ordinal_names;  ///< text of the enum numbers a peer may send
};

/// What a codec needs to know about a message type, read from its descriptor once per thread.
class MessagePlan {
public:
    explicit MessagePlan(const google::protobuf::Descriptor& type);

    /// In the order of the schema file.
    const std::vector<FieldPlan>& fields() const noexcept { return fields_; }

    /// Indices into fields(), by name as fastjson sorts.
    const std::vector<std::size_t>& alphabetical() const noexcept { return alphabetical_; }

    bool has_required() const noexcept { return has_required_; }

    /// A list that JSON shows as a plain array: its one field.
    const FieldPlan* plain_list() const noexcept { return is_plain_list_ ? &fields_[0] : nullptr; }

    /// The field of that name or short name, null when there is none.
    const FieldPlan* find(std::string_view name) const noexcept;

private:
    struct Entry {
        std::string_view name;
        std::size_t index = 0;
    };

    std::vector<FieldPlan> fields_;
    std::vector<std::size_t> alphabetical_;
    std::vector<Entry> by_name_;
    bool has_required_ = false;
    bool is_plain_list_ = false;
};

/// The plan of a type. The reference lasts as long as the calling thread.
const MessagePlan& plan_of(const google::protobuf::Descriptor& type);

/// Name of the first required field that is absent; empty when all are there.
std::string_view missing_field(const MessagePlan& plan, const google::protobuf::Message& message);

/// Keeps the library from printing a line for every malformed message a peer sends: the error
/// reaches the caller anyway. Cheap after the first call.
void silence_protobuf_log() noexcept;

}  // namespace gantry::wire
