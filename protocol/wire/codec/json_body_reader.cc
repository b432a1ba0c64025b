// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/json_body_reader.h"

#include "protocol/wire/codec/field_text.h"
#include "protocol/wire/codec/java_text.h"
#include "protocol/wire/codec/json_tolerance.h"
#include "protocol/wire/codec/schema_plan.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <exception>
#include <string>
#include <vector>

namespace gantry::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::json;

constexpr int kKeyNumber = 1;
constexpr int kValueNumber = 2;
constexpr double kExactIntegerMax = 9'007'199'254'740'992.0;  // 2^53

enum class Kind { kMessage, kList, kMap, kSkipped };

// One open bracket: what it fills.
struct Level {
    Kind kind = Kind::kSkipped;
    Message* message = nullptr;        // the message itself, or the owner of the list or map
    const FieldPlan* field = nullptr;  // kMessage: of the last key, null: unknown; else the field
    std::string key = {};              // kMap: the last key
};

bool is_message(const FieldDescriptor& field) noexcept {
    return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

bool is_map(const FieldPlan& plan) noexcept {
    return plan.field->is_map() || plan.is_object_key_map;
}

// Receives the parser's events and fills a message. Its function names are the library's.
class BodySax {
public:
    explicit BodySax(Message& root) noexcept : root_(root) {}

    bool null() { return !levels_.empty() || fail("no JSON object"); }

    bool boolean(bool value) { return scalar(value ? "true" : "false"); }

    bool number_integer(std::int64_t value) { return scalar(std::to_string(value)); }

    bool number_unsigned(std::uint64_t value) { return scalar(std::to_string(value)); }

    bool number_float(double value, const std::string& text) {
        const bool is_whole = std::abs(value) <= kExactIntegerMax && value == std::trunc(value);
        const FieldDescriptor* const target = levels_.empty() ? nullptr : scalar_target();
        const bool wants_integer = target != nullptr &&
                                   target->cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE &&
                                   target->cpp_type() != FieldDescriptor::CPPTYPE_STRING;
        return scalar(is_whole && wants_integer ? std::to_string(static_cast<std::int64_t>(value))
                                                : text);
    }

    bool string(const std::string& text) { return scalar(text); }

    bool binary(const Json::binary_t&) { return false; }

    bool start_object(std::size_t) {
        if (++objects_ > kJsonObjectsMax) {
            return fail("more than " + std::to_string(kJsonObjectsMax) + " objects");
        }
        if (levels_.empty()) {
            return open(Kind::kMessage, &root_);
        }
        const Level& top = levels_.back();
        if (top.kind == Kind::kSkipped || top.field == nullptr) {
            return open(Kind::kSkipped, nullptr);
        }
        if (top.kind == Kind::kMessage && is_map(*top.field)) {
            return open(Kind::kMap, top.message, top.field);
        }
        if (top.kind == Kind::kMessage && top.field->field->is_repeated()) {
            return wrong_type("a list");
        }
        Message* const target = message_target();
        return target != nullptr && open(Kind::kMessage, target);
    }

    bool start_array(std::size_t) {
        if (levels_.empty()) {
            return fail("no JSON object");
        }
        const Level& top = levels_.back();
        if (top.kind == Kind::kSkipped || top.field == nullptr) {
            return open(Kind::kSkipped, nullptr);
        }
        if (top.kind == Kind::kMessage && top.field->field->is_repeated() && !is_map(*top.field)) {
            return open(Kind::kList, top.message, top.field);
        }
        if (top.kind == Kind::kList) {
            return wrong_type("a list of lists");
        }
        Message* const target = message_target();
        if (target == nullptr) {
            return false;
        }
        const FieldPlan* const list = plan_of(*target->GetDescriptor()).plain_list();
        return list != nullptr ? open(Kind::kList, target, list) : wrong_type("a list");
    }

    bool end_object() { return close(); }

    bool end_array() { return close(); }

    bool key(const std::string& name) {
        Level& top = levels_.back();
        if (top.kind == Kind::kMessage) {
            top.field = plan_of(*top.message->GetDescriptor()).find(name);
        } else if (top.kind == Kind::kMap) {
            top.key = name;
        }
        return true;
    }

    bool parse_error(std::size_t position, const std::string&, const std::exception&) {
        return fail("not JSON near byte " + std::to_string(position));
    }

    std::string error;

private:
    bool fail(std::string why) {
        if (error.empty()) {
            error = std::move(why);
        }
        return false;
    }

    bool wrong_type(std::string_view what) {
        const Level& top = levels_.back();
        return fail("field " + top.field->name + " is not " + std::string(what));
    }

    bool open(Kind kind, Message* message, const FieldPlan* field = nullptr) {
        levels_.push_back({kind, message, field});
        return true;
    }

    bool close() {
        levels_.pop_back();
        return true;
    }

    // The field a scalar at this place would set; null: none, the value is passed over.
    const FieldDescriptor* scalar_target() const {
        const Level& top = levels_.back();
        if (top.kind == Kind::kSkipped || top.field == nullptr) {
            return nullptr;
        }
        return top.kind == Kind::kMap
                   ? top.field->field->message_type()->FindFieldByNumber(kValueNumber)
                   : top.field->field;
    }

    // Adds an entry to the map on top, its key set; null after a failure.
    Message* add_entry() {
        const Level& top = levels_.back();
        Message* const entry =
            top.message->GetReflection()->AddMessage(top.message, top.field->field);
        const FieldDescriptor& key = *entry->GetDescriptor()->FindFieldByNumber(kKeyNumber);
        if (!is_message(key)) {
            if (!set_scalar(*entry, key, top.key)) {
                fail("field " + top.field->name + ": key \"" + top.key.substr(0, 64) + "\"");
                return nullptr;
            }
            return entry;
        }
        const Status parsed =
            read_json_body(top.key, *entry->GetReflection()->MutableMessage(entry, &key));
        if (!parsed) {
            fail("field " + top.field->name + ": key: " + parsed.error().detail);
            return nullptr;
        }
        return entry;
    }

    // The message an object or plain list at this place fills; null after a failure.
    Message* message_target() {
        const Level& top = levels_.back();
        const FieldDescriptor& target = *scalar_target();
        if (!is_message(target)) {
            wrong_type("a number, text or boolean");
            return nullptr;
        }
        if (top.kind == Kind::kList) {
            return top.message->GetReflection()->AddMessage(top.message, &target);
        }
        Message* const owner = top.kind == Kind::kMap ? add_entry() : top.message;
        return owner != nullptr ? owner->GetReflection()->MutableMessage(owner, &target) : nullptr;
    }

    bool scalar(std::string_view text) {
        if (levels_.empty()) {
            return fail("no JSON object");
        }
        const FieldDescriptor* const target = scalar_target();
        if (target == nullptr) {
            return true;
        }
        const Level& top = levels_.back();
        if (is_message(*target) || (top.kind == Kind::kMessage && target->is_repeated())) {
            return wrong_type("an object or list");
        }
        if (target->cpp_type() != FieldDescriptor::CPPTYPE_STRING &&
            (text.empty() || text == "null")) {
            return true;
        }
        Message* const owner = top.kind == Kind::kMap ? add_entry() : top.message;
        if (owner == nullptr) {
            return false;
        }
        const std::string_view value = translated(*top.field, *target, text);
        if (value.empty() != text.empty() || !set_scalar(*owner, *target, value)) {
            return fail("field " + top.field->name + ": \"" + std::string(text.substr(0, 64)) +
                        "\" is no " + std::string(type_name_of(*target)));
        }
        return true;
    }

    // Text with enum numbers and the forms of booleans made uniform; empty when it means nothing.
    static std::string_view translated(const FieldPlan& plan,
                                       const FieldDescriptor& target,
                                       std::string_view text) {
        if (target.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
            if (text == "1" || parse_java_bool(text)) {
                return "true";
            }
            const bool is_false =
                text == "0" || text == "false" || text == "False" || text == "FALSE";
            return is_false ? std::string_view("false") : std::string_view();
        }
        if (plan.ordinal_names.empty()) {
            return text;
        }
        const auto ordinal = parse_java_int32(text);
        if (!ordinal) {
            return text;
        }
        const auto index = static_cast<std::size_t>(*ordinal);
        return index < plan.ordinal_names.size() ? std::string_view(plan.ordinal_names[index])
                                                 : std::string_view();
    }

    Message& root_;
    std::vector<Level> levels_;
    std::size_t objects_ = 0;
};

Error corrupt(std::string_view text, const Message& body, const std::string& why) {
    return Error{Errc::kCorrupt,
                 "JSON body of " + std::to_string(text.size()) + " B for " + body.GetTypeName() +
                     ": " + why};
}

}  // namespace

Status read_json_body(std::string_view text, Message& body) {
    body.Clear();
    const Result<std::string> strict = strict_json(text);
    if (!strict) {
        return corrupt(text, body, strict.error().detail);
    }
    BodySax sax(body);
    try {
        if (!Json::sax_parse(strict->begin(), strict->end(), &sax)) {
            return corrupt(text, body, sax.error);
        }
    } catch (const std::exception& e) {
        return corrupt(text, body, e.what());
    }
    return ok();
}

}  // namespace gantry::wire
