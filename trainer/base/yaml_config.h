// Strict YAML in, YAML and Markdown out, for structs described with `Fields`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic {

// A parsed YAML file with command-line overrides applied.
class YamlDocument {
 public:
  // Throws ConfigError: unreadable file, YAML syntax, duplicate key, anchor cycle, nesting over 64,
  // an override that names no place. `overrides` are `dotted.path=value`; a list element is named
  // by its index or by the value of its `name` key.
  static YamlDocument load(const std::string& path, const std::vector<std::string>& overrides = {});
  // The same from text; `path` only names the source in messages.
  static YamlDocument parse(const std::string& text, const std::string& path,
                            const std::vector<std::string>& overrides = {});

  ~YamlDocument();
  YamlDocument(YamlDocument&&) noexcept;
  YamlDocument& operator=(YamlDocument&&) noexcept;

  // Reads the top level into a described struct. Throws ConfigError.
  template <class T>
  void read(T& value) const {
    auto fields = reader();
    describe(*fields, value);
    finish(*fields);
  }
  // Like `read`, but leaves the listed top-level keys unchecked (a file shared with other
  // commands).
  template <class T>
  void read_ignoring(T& value, const std::vector<std::string>& ignored) const {
    auto fields = reader(ignored);
    describe(*fields, value);
    finish(*fields);
  }

  bool has(const std::string& top_level_key) const;

  // Runs `work`. A ConfigError, DataError or RemoteError that begins with a dotted path of this
  // file (`model.path: got ...`) goes on with the place of the deepest node on that path in front:
  // `FILE:LINE: ` or `command line: `. A ConfigError about any other path is taken to mean a key
  // of `section` (stages.NAME), if there is one.
  void in_place(const std::function<void()>& work, const std::string& section = "") const;

 private:
  struct Impl;
  explicit YamlDocument(std::unique_ptr<Impl> impl);
  std::unique_ptr<Fields> reader(const std::vector<std::string>& ignored = {}) const;
  std::string with_place(const std::string& message, const std::string& section) const;
  static void finish(Fields& fields);
  std::unique_ptr<Impl> impl_;
};

// Visitor that writes YAML which reads back to the same struct.
class YamlWriter {
 public:
  YamlWriter();
  ~YamlWriter();
  template <class T>
  std::string write(T value) {
    describe(fields(), value);
    return finish();
  }

 private:
  struct Impl;
  Fields& fields();
  std::string finish();
  std::unique_ptr<Impl> impl_;
};

// Visitor that writes a Markdown table of every key: path, type, default, bounds, help.
class MarkdownWriter {
 public:
  MarkdownWriter();
  ~MarkdownWriter();
  template <class T>
  std::string write(T value) {
    describe(fields(), value);
    return finish();
  }

 private:
  struct Impl;
  Fields& fields();
  std::string finish();
  std::unique_ptr<Impl> impl_;
};

// The known name with the smallest edit distance, or empty when none is near. A known name with one
// word and `_` in front of it is near (max_steps: steps).
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace limbic
