// Verdicts on disk, so that a text is judged once: a resumed run, another run and `limbic score`
// see the same numbers. One SQLite file, which several processes may share.
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
  // Creates the file, and folders above it, when they are missing. Throws DataError: the file
  // cannot be opened, is no SQLite file, or another program's.
  explicit VerdictCache(const std::string& path);
  ~VerdictCache();
  VerdictCache(const VerdictCache&) = delete;
  VerdictCache& operator=(const VerdictCache&) = delete;

  // May be called from several threads at once. Throw DataError: the file is damaged, or locked
  // for more than 10 s. `items`: values that a verdict of the rubric has.
  std::optional<Verdict> find(const VerdictKey& key, std::size_t items) const;
  // Keeps what is there already under the key.
  void store(const VerdictKey& key, const Verdict& verdict);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limbic::rewards
