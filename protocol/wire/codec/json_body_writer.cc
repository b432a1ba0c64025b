// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/json_body_writer.h"

#include "protocol/wire/codec/field_text.h"
#include "protocol/wire/codec/java_text.h"
#include "protocol/wire/codec/schema_plan.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace gantry::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kKeyNumber = 1;
constexpr int kValueNumber = 2;

class BodyWriter {
public:
    BodyWriter(std::string& out, bool standard) noexcept : out_(out), standard_(standard) {}

    void message(const Message& message) {
        const MessagePlan& plan = plan_of(*message.GetDescriptor());
        if (const FieldPlan* const list = plan.plain_list()) {
            repeated(message, *list->field);
            return;
        }
        const auto& reflection = *message.GetReflection();
        out_ += '{';
        bool is_first = true;
        for (const std::size_t index : plan.alphabetical()) {
            const FieldPlan& each = plan.fields()[index];
            if (each.field->has_presence() && !reflection.HasField(message, each.field)) {
                continue;
            }
            if (each.is_absent_when_empty && reflection.FieldSize(message, each.field) == 0) {
                continue;
            }
            separate(is_first);
            append_json_string(out_, each.name);
            out_ += ':';
            field(message, each);
        }
        out_ += '}';
    }

private:
    void separate(bool& is_first) {
        if (!is_first) {
            out_ += ',';
        }
        is_first = false;
    }

    void field(const Message& message, const FieldPlan& plan) {
        if (plan.field->is_map() || plan.is_object_key_map) {
            map(message, *plan.field);
        } else if (plan.field->is_repeated()) {
            repeated(message, *plan.field);
        } else {
            value(message, *plan.field, kSingular);
        }
    }

    void repeated(const Message& message, const FieldDescriptor& list) {
        const int count = message.GetReflection()->FieldSize(message, &list);
        out_ += '[';
        bool is_first = true;
        for (int i = 0; i < count; ++i) {
            separate(is_first);
            value(message, list, i);
        }
        out_ += ']';
    }

    void value(const Message& message, const FieldDescriptor& field, int index) {
        const auto& reflection = *message.GetReflection();
        if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
            this->message(index == kSingular
                              ? reflection.GetMessage(message, &field)
                              : reflection.GetRepeatedMessage(message, &field, index));
        } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
            std::string scratch;
            append_json_string(
                out_,
                index == kSingular
                    ? reflection.GetStringReference(message, &field, &scratch)
                    : reflection.GetRepeatedStringReference(message, &field, index, &scratch));
        } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE && index == kSingular &&
                   !std::isfinite(reflection.GetDouble(message, &field))) {
            out_ += "null";
        } else {
            append_scalar(out_, message, field, index);
        }
    }

    // Real maps and lists of entries with fields key and value alike.
    void map(const Message& message, const FieldDescriptor& field) {
        const FieldDescriptor& key = *field.message_type()->FindFieldByNumber(kKeyNumber);
        const FieldDescriptor& value_field = *field.message_type()->FindFieldByNumber(kValueNumber);
        out_ += '{';
        bool is_first = true;
        for (const Message* const entry : entries(message, field, key)) {
            separate(is_first);
            map_key(*entry, key);
            out_ += ':';
            value(*entry, value_field, kSingular);
        }
        out_ += '}';
    }

    void map_key(const Message& entry, const FieldDescriptor& key) {
        if (key.cpp_type() == FieldDescriptor::CPPTYPE_STRING || !standard_) {
            value(entry, key, kSingular);
            return;
        }
        std::string text;
        BodyWriter(text, standard_).value(entry, key, kSingular);
        append_json_string(out_, text);
    }

    // Sorted where the library's order would be that of a hash table, so that equal tables give
    // equal bytes.
    static std::vector<const Message*> entries(const Message& message,
                                               const FieldDescriptor& field,
                                               const FieldDescriptor& key) {
        const auto& reflection = *message.GetReflection();
        const int count = reflection.FieldSize(message, &field);
        std::vector<const Message*> all;
        all.reserve(static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) {
            all.push_back(&reflection.GetRepeatedMessage(message, &field, i));
        }
        if (!field.is_map()) {
            return all;
        }
        const bool is_text = key.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
        std::sort(all.begin(), all.end(), [&key, is_text](const Message* a, const Message* b) {
            const auto& r = *a->GetReflection();
            return is_text ? r.GetString(*a, &key) < r.GetString(*b, &key)
                           : r.GetInt64(*a, &key) < r.GetInt64(*b, &key);
        });
        return all;
    }

    std::string& out_;
    bool standard_;
};

}  // namespace

void append_json_body(std::string& out, const Message& body, bool standard) {
    BodyWriter(out, standard).message(body);
}

}  // namespace gantry::wire
