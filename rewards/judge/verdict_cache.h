// Verdicts on disk, so that a text is judged once: a resumed run, another run and `limbic score`
// see the same numbers. One SQLite file with a rollback journal, which several processes may share,
// on a network file system too where that has locks.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "rewards/judge/verdict.h"

namespace limbic::rewards {

// What a verdict depends on. The text is hashed, never stored.
struct VerdictKey {
  std::string judge;   // ChatEndpoint::identity()
  std::string rubric;  // Rubric::hash()
  std::string text;    // SHA-256 of all that is judged
  std::int64_t vote = 0;
};

class VerdictCache {
 public:
  // Does not touch the disk yet.
  explicit VerdictCache(const std::string& path);
  ~VerdictCache();
  VerdictCache(const VerdictCache&) = delete;
  VerdictCache& operator=(const VerdictCache&) = delete;

  // All may be called from several threads at once, and open the file when it is not open yet.
  // Throw DataError: the file cannot be opened, is damaged, no SQLite file or another program's, or
  // is locked for more than 10 s.

  // Creates the file, and folders above it, when they are missing.
  void open() const;
  // `items`: values that a verdict of the rubric has.
  std::optional<Verdict> find(const VerdictKey& key, std::size_t items) const;
  // Keeps what is there already under the key.
  void store(const VerdictKey& key, const Verdict& verdict);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limbic::rewards
