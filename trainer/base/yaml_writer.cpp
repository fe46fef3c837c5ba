// The writing visitors of Fields: YAML that reads back, and the Markdown table of all keys.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <cmath>

#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic {
namespace {

std::string number_text(double value) { return fmt::format("{}", value); }

void emit_json(YAML::Emitter& out, const Json& value) {
  if (value.is_object()) {
    out << YAML::Flow << YAML::BeginMap;
    for (const auto& [key, item] : value.items()) {
      out << YAML::Key << key << YAML::Value;
      emit_json(out, item);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    out << YAML::Flow << YAML::BeginSeq;
    for (const auto& item : value) emit_json(out, item);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    out << YAML::DoubleQuoted << value.get<std::string>();
  } else {
    out << value.dump();
  }
}

class Writer final : public Fields {
 public:
  Writer() { out_ << YAML::BeginMap; }

  void field(std::string_view key, bool& value, std::string_view) override {
    put(key) << (value ? "true" : "false");
  }
  void field(std::string_view key, std::int64_t& value, std::string_view, Bounds) override {
    put(key) << value;
  }
  void field(std::string_view key, double& value, std::string_view, Bounds) override {
    put(key) << number_text(value);
  }
  void field(std::string_view key, std::optional<double>& value, std::string_view,
             Bounds) override {
    put_optional(key, value ? number_text(*value) : std::string());
  }
  void field(std::string_view key, std::optional<std::int64_t>& value, std::string_view,
             Bounds) override {
    put_optional(key, value ? std::to_string(*value) : std::string());
  }
  void field(std::string_view key, std::string& value, std::string_view) override {
    put(key) << YAML::DoubleQuoted << value;
  }
  void field(std::string_view key, std::vector<std::string>& value, std::string_view) override {
    put(key) << YAML::Flow << YAML::BeginSeq;
    for (const auto& item : value) out_ << YAML::DoubleQuoted << item;
    out_ << YAML::EndSeq;
  }
  void field(std::string_view key, std::vector<std::pair<std::string, std::string>>& value,
             std::string_view) override {
    put(key) << YAML::Flow << YAML::BeginMap;
    for (const auto& [name, item] : value) {
      out_ << YAML::Key << name << YAML::Value << YAML::DoubleQuoted << item;
    }
    out_ << YAML::EndMap;
  }
  void field(std::string_view key, Json& value, std::string_view) override {
    if (value.is_null()) return;
    emit_json(put(key), value);
  }

  void require(std::string_view) override {}
  bool has(std::string_view) const override { return true; }
  bool reading() const override { return false; }
  void fail(std::string_view, const std::string& message) const override { check(false, message); }

  std::string finish() {
    out_ << YAML::EndMap;
    check(out_.good(), "YAML writer: " + out_.GetLastError());
    return std::string(out_.c_str()) + "\n";
  }

 protected:
  void choose(std::string_view key, std::size_t& index, const std::vector<std::string_view>& names,
              std::string_view) override {
    put(key) << std::string(names[index]);
  }
  bool begin_section(std::string_view key, std::string_view, bool engaged) override {
    if (engaged) put(key) << YAML::BeginMap;
    return engaged;
  }
  void end_section() override { out_ << YAML::EndMap; }
  bool begin_list(std::string_view key, std::string_view, std::size_t& count) override {
    if (count == 0) return false;
    closers_.push_back(false);
    put(key) << YAML::BeginSeq;
    return true;
  }
  void begin_item(std::size_t) override { out_ << YAML::BeginMap; }
  bool begin_map(std::string_view key, std::string_view, std::vector<std::string>& names) override {
    if (names.empty()) return false;
    closers_.push_back(true);
    put(key) << YAML::BeginMap;
    return true;
  }
  void begin_entry(const std::string& name) override {
    out_ << YAML::Key << name << YAML::Value << YAML::BeginMap;
  }
  void end_list() override {
    if (closers_.back()) {
      out_ << YAML::EndMap;
    } else {
      out_ << YAML::EndSeq;
    }
    closers_.pop_back();
  }

 private:
  YAML::Emitter& put(std::string_view key) {
    return out_ << YAML::Key << std::string(key) << YAML::Value;
  }

  void put_optional(std::string_view key, const std::string& text) {
    if (text.empty()) {
      put(key) << YAML::Null;
    } else {
      put(key) << text;
    }
  }

  YAML::Emitter out_;
  std::vector<bool> closers_;  // true: a map is open, false: a list
};

class Documenter final : public Fields {
 public:
  void field(std::string_view key, bool& value, std::string_view help) override {
    row(key, "true or false", value ? "true" : "false", help);
  }
  void field(std::string_view key, std::int64_t& value, std::string_view help,
             Bounds bounds) override {
    row(key, "whole number" + limits(bounds), std::to_string(value), help);
  }
  void field(std::string_view key, double& value, std::string_view help, Bounds bounds) override {
    row(key, "number" + limits(bounds), number_text(value), help);
  }
  void field(std::string_view key, std::optional<double>& value, std::string_view help,
             Bounds bounds) override {
    row(key, "number" + limits(bounds), value ? number_text(*value) : "not set", help);
  }
  void field(std::string_view key, std::optional<std::int64_t>& value, std::string_view help,
             Bounds bounds) override {
    row(key, "whole number" + limits(bounds), value ? std::to_string(*value) : "not set", help);
  }
  void field(std::string_view key, std::string& value, std::string_view help) override {
    row(key, "string", "`\"" + value + "\"`", help);
  }
  void field(std::string_view key, std::vector<std::string>& value,
             std::string_view help) override {
    row(key, "list of strings", fmt::format("`[{}]`", fmt::join(value, ", ")), help);
  }
  void field(std::string_view key, std::vector<std::pair<std::string, std::string>>& value,
             std::string_view help) override {
    row(key, "section", value.empty() ? "`{}`" : "see help", help);
  }
  void field(std::string_view key, Json& value, std::string_view help) override {
    row(key, "see help", value.is_null() ? "not set" : "`" + value.dump() + "`", help);
  }

  void require(std::string_view) override {}
  bool has(std::string_view) const override { return true; }
  bool reading() const override { return false; }
  void fail(std::string_view, const std::string& message) const override { check(false, message); }

  std::string finish() {
    return "| key | type | default | meaning |\n| --- | --- | --- | --- |\n" + rows_;
  }

 protected:
  void choose(std::string_view key, std::size_t& index, const std::vector<std::string_view>& names,
              std::string_view help) override {
    row(key, fmt::format("{}", fmt::join(names, " \\| ")), std::string(names[index]), help);
  }
  bool begin_section(std::string_view key, std::string_view help, bool engaged) override {
    row(key, "section", engaged ? "present" : "absent", help);
    path_.push_back(std::string(key) + ".");
    return true;
  }
  void end_section() override { path_.pop_back(); }
  bool begin_list(std::string_view key, std::string_view help, std::size_t& count) override {
    if (path_.size() > 12 || nested_list(key))
      return false;  // nodes that nest document themselves once
    row(key, "list of sections", "`[]`", help);
    path_.push_back(std::string(key));
    count = 1;
    return true;
  }
  void begin_item(std::size_t) override { path_.push_back("[]."); }
  bool begin_map(std::string_view key, std::string_view help,
                 std::vector<std::string>& names) override {
    row(key, "named sections", "`{}`", help);
    path_.push_back(std::string(key));
    names = {"NAME"};
    return true;
  }
  void begin_entry(const std::string& name) override { path_.push_back("." + name + "."); }
  void end_list() override { path_.pop_back(); }
  bool documents_all() const override { return true; }
  void begin_alternative(std::string_view key, std::string_view name) override {
    path_.push_back(fmt::format("({}: {}) ", key, name));
  }
  void end_alternative() override { path_.pop_back(); }

 private:
  bool nested_list(std::string_view key) const {
    for (const auto& part : path_) {
      if (part == key) return true;
    }
    return false;
  }
  static std::string limits(const Bounds& bounds) {
    std::string text;
    if (std::isfinite(bounds.min)) {
      text += fmt::format(" {} {}", bounds.open_min ? ">" : ">=", bounds.min);
    }
    if (std::isfinite(bounds.max))
      text += fmt::format("{} <= {}", text.empty() ? "" : ",", bounds.max);
    return text;
  }
  void row(std::string_view key, const std::string& type, const std::string& initial,
           std::string_view help) {
    rows_ +=
        fmt::format("| `{}{}` | {} | {} | {} |\n", fmt::join(path_, ""), key, type, initial, help);
  }

  std::vector<std::string> path_;
  std::string rows_;
};

}  // namespace

struct YamlWriter::Impl {
  Writer writer;
};
YamlWriter::YamlWriter() : impl_(std::make_unique<Impl>()) {}
YamlWriter::~YamlWriter() = default;
Fields& YamlWriter::fields() { return impl_->writer; }
std::string YamlWriter::finish() { return impl_->writer.finish(); }

struct MarkdownWriter::Impl {
  Documenter documenter;
};
MarkdownWriter::MarkdownWriter() : impl_(std::make_unique<Impl>()) {}
MarkdownWriter::~MarkdownWriter() = default;
Fields& MarkdownWriter::fields() { return impl_->documenter; }
std::string MarkdownWriter::finish() { return impl_->documenter.finish(); }

}  // namespace limbic
