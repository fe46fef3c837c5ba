#include "rewards/judge/verdict_cache.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cmath>
#include <filesystem>
#include <mutex>

#include "trainer/base/file.h"

namespace limbic::rewards {
namespace {

constexpr int kApplication = 0x6C6D6276;  // "lmbv", PRAGMA application_id
constexpr int kVersion = 1;               // PRAGMA user_version
constexpr int kBusyMs = 10'000;

using Statement = std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)>;

std::string digest(const VerdictKey& key) {
  return sha256(fmt::format("{}\n{}\n{}\n{}", sha256(key.judge), key.rubric, key.text, key.vote));
}

// {"values": [...], "reasons": "..."}
std::string to_text(const Verdict& verdict) {
  const Json json = {{"values", verdict.values}, {"reasons", verdict.reasons}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<Verdict> from_text(const std::string& text, std::size_t items) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("values") || !json.contains("reasons")) return {};
  if (!json["values"].is_array() || json["values"].size() != items) return {};
  if (!json["reasons"].is_string()) return {};
  Verdict verdict;
  verdict.reasons = json["reasons"].get<std::string>();
  for (const Json& value : json["values"]) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) return {};
    verdict.values.push_back(value.get<double>());
  }
  return verdict;
}

}  // namespace

struct VerdictCache::Impl {
  std::string path;
  sqlite3* database = nullptr;
  std::mutex mutex;

  ~Impl() { sqlite3_close(database); }

  [[noreturn]] void fail(const std::string& want) const {
    throw DataError(fmt::format("{}: got '{}' from SQLite, want {}", path,
                                database ? sqlite3_errmsg(database) : "no memory", want));
  }
  Statement prepare(const char* sql) const {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(database, sql, -1, &raw, nullptr) != SQLITE_OK) {
      fail("a cache of verdicts");
    }
    return {raw, &sqlite3_finalize};
  }
  void run(const char* sql) const {
    if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
      fail("a cache of verdicts");
    }
  }
  int number(const char* sql) const {
    const Statement statement = prepare(sql);
    if (sqlite3_step(statement.get()) != SQLITE_ROW) fail("a cache of verdicts");
    return sqlite3_column_int(statement.get(), 0);
  }
  void bind(const Statement& statement, int place, const std::string& text) const {
    const int code = sqlite3_bind_text(statement.get(), place, text.data(),
                                       static_cast<int>(text.size()), SQLITE_TRANSIENT);
    if (code != SQLITE_OK) fail("a text of less than 1 GB");
  }
  void open();
  // Requires: the mutex is held.
  void open_once() {
    if (database != nullptr) return;
    try {
      open();
    } catch (...) {  // a later call says it again
      sqlite3_close(database);
      database = nullptr;
      throw;
    }
  }
};

void VerdictCache::Impl::open() {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;  // SQLite says what is wrong with the file
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
  if (sqlite3_open_v2(path.c_str(), &database, flags, nullptr) != SQLITE_OK) {
    fail("a file that can be written");
  }
  sqlite3_busy_timeout(database, kBusyMs);
  run("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE");  // two processes may create it
  const int application = number("PRAGMA application_id");
  const bool empty = number("SELECT count(*) FROM sqlite_master") == 0;
  if (!(empty && application == 0) &&
      (application != kApplication || number("PRAGMA user_version") != kVersion)) {
    throw DataError(fmt::format(
        "{}: got a database of another kind or version, want a cache of verdicts", path));
  }
  run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};"
                  "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, judge TEXT NOT NULL,"
                  " rubric TEXT NOT NULL, verdict TEXT NOT NULL) WITHOUT ROWID; COMMIT",
                  kApplication, kVersion)
          .c_str());
}

VerdictCache::VerdictCache(const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
}

VerdictCache::~VerdictCache() = default;

void VerdictCache::open() const {
  const std::lock_guard lock(impl_->mutex);
  impl_->open_once();
}

std::optional<Verdict> VerdictCache::find(const VerdictKey& key, std::size_t items) const {
  const std::lock_guard lock(impl_->mutex);
  impl_->open_once();
  const Statement statement = impl_->prepare("SELECT verdict FROM verdicts WHERE key = ?");
  impl_->bind(statement, 1, digest(key));
  const int code = sqlite3_step(statement.get());
  if (code == SQLITE_DONE) return std::nullopt;
  if (code != SQLITE_ROW) impl_->fail("a cache of verdicts");
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 0));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement.get(), 0));
  std::optional<Verdict> verdict = from_text(std::string(bytes, size), items);
  if (verdict) return verdict;
  throw DataError(fmt::format("{}: got a damaged verdict, want {} values; remove the file",
                              impl_->path, items));
}

void VerdictCache::store(const VerdictKey& key, const Verdict& verdict) {
  const std::lock_guard lock(impl_->mutex);
  impl_->open_once();
  const Statement statement = impl_->prepare("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?)");
  impl_->bind(statement, 1, digest(key));
  impl_->bind(statement, 2, key.judge);
  impl_->bind(statement, 3, key.rubric);
  impl_->bind(statement, 4, to_text(verdict));
  if (sqlite3_step(statement.get()) != SQLITE_DONE) impl_->fail("a file that can be written");
}

}  // namespace limbic::rewards
