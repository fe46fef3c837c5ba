#include "trainer/checkpoint/step_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "MANIFEST.json";
constexpr const char* kTensors = "state.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kUnfinished = ".unfinished";
constexpr const char* kDigest = "manifest_sha256";  // of the manifest's other fields

void sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // some file systems do not open folders; the rename still stands
  ::fsync(descriptor);
  ::close(descriptor);
}

Json file_entry(const std::string& folder, const char* name) {
  const std::string path = folder + "/" + name;
  return {{"name", name}, {"bytes", fs::file_size(path)}, {"sha256", sha256_file(path)}};
}

// Puts the finished folder in the place of an older one of the same step.
void replace_folder(const std::string& aside, const std::string& target) {
  const std::string older = target + ".older" + kUnfinished;
  if (::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
    fs::rename(aside, older);
  } else {
    // Some network file systems cannot exchange: for a moment the step has no checkpoint.
    fs::rename(target, older);
    fs::rename(aside, target);
  }
  fs::remove_all(older);
}

std::string digest_of(Json manifest) {
  manifest.erase(kDigest);
  return sha256(manifest.dump());
}

void write_files(const std::string& folder, std::int64_t step, const CheckpointContent& content,
                 const Json& info) {
  try {
    fs::create_directory(folder);
    write_safetensors(folder + "/" + kTensors, content.tensors);
    write_file_atomically(folder + "/" + kState, content.state.dump() + "\n");
    Json manifest = {{"schema_version", kSchemaVersion},
                     {"step", step},
                     {"info", info},
                     {"files", {file_entry(folder, kTensors), file_entry(folder, kState)}}};
    manifest[kDigest] = digest_of(manifest);
    write_file_atomically(folder + "/" + kManifest, manifest.dump(2) + "\n");
    sync_folder(folder);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);  // a full disk needs the space
    throw;
  }
}

}  // namespace

std::string step_name(std::int64_t step) { return fmt::format("step-{:08}", step); }

std::optional<std::int64_t> step_of_folder(const std::string& folder) {
  const fs::path path = fs::path(folder).lexically_normal();
  const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  const std::string prefix = "step-";
  if (!name.starts_with(prefix)) return std::nullopt;
  std::int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, step);
  if (error != std::errc() || stop != end || step < 0) return std::nullopt;
  return step;
}

std::vector<std::pair<std::int64_t, std::string>> steps_below(const std::string& folder) {
  std::vector<std::pair<std::int64_t, std::string>> steps;
  try {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const auto step = step_of_folder(entry.path().string());
      if (step && entry.is_directory()) steps.emplace_back(*step, entry.path().string());
    }
  } catch (const fs::filesystem_error& error) {
    // Only a folder that is not there has no checkpoints: another failure must not begin anew.
    if (error.code() != std::errc::no_such_file_or_directory) {
      throw DataError(fmt::format("{}: got {}, want a folder of checkpoints that can be read",
                                  folder, error.code().message()));
    }
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

void remove_unfinished(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().ends_with(kUnfinished)) leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) fs::remove_all(path, error);
}

void write_step(const std::string& folder, std::int64_t step, const CheckpointContent& content,
                const Json& info) {
  const std::string target = folder + "/" + step_name(step);
  const std::string aside = target + kUnfinished;
  try {
    fs::create_directories(folder);
    remove_unfinished(folder);
    write_files(aside, step, content, info);
    if (fs::exists(target)) {
      replace_folder(aside, target);
    } else {
      fs::rename(aside, target);
    }
    sync_folder(folder);
  } catch (const fs::filesystem_error& error) {
    throw DataError(fmt::format("{}: got {}, want a folder that can be written", target,
                                error.code().message()));
  }
}

Json read_manifest(const std::string& step_folder) {
  const std::string path = step_folder + "/" + kManifest;
  const Json manifest = Json::parse(read_file(path), nullptr, false);
  const bool usable = manifest.is_object() && manifest.contains("schema_version") &&
                      manifest["schema_version"].is_number_integer() && manifest.contains("step") &&
                      manifest["step"].is_number_integer() && manifest.contains("info") &&
                      manifest.contains("files") && manifest["files"].is_array();
  if (!usable) throw DataError(path + ": got a damaged manifest, want what limbic writes");
  if (manifest["schema_version"] != kSchemaVersion) {
    throw DataError(fmt::format("{}: got schema version {}, want {}", path,
                                manifest["schema_version"].get<std::int64_t>(), kSchemaVersion));
  }
  if (!manifest.contains(kDigest) || manifest[kDigest] != digest_of(manifest)) {
    throw DataError(path + ": got other content than was saved (SHA-256 differs)");
  }
  return manifest;
}

void check_files(const std::string& step_folder, const Json& manifest) {
  std::vector<std::string> names;
  for (const Json& file : manifest["files"]) {
    const bool usable = file.is_object() && file.contains("name") && file["name"].is_string() &&
                        file.contains("bytes") && file["bytes"].is_number_unsigned() &&
                        file.contains("sha256") && file["sha256"].is_string();
    if (!usable) throw DataError(step_folder + "/MANIFEST.json: got a damaged manifest");
    const std::string path = step_folder + "/" + file["name"].get<std::string>();
    std::error_code error;
    const auto bytes = fs::file_size(path, error);
    if (error) throw DataError(path + ": got no such file, want it for the checkpoint");
    if (bytes != file["bytes"].get<std::uintmax_t>()) {
      throw DataError(fmt::format("{}: got {} bytes, want {}", path, bytes,
                                  file["bytes"].get<std::uintmax_t>()));
    }
    if (sha256_file(path) != file["sha256"].get<std::string>()) {
      throw DataError(path + ": got other content than was saved (SHA-256 differs)");
    }
    names.push_back(file["name"]);
  }
  for (const char* name : {kTensors, kState}) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw DataError(fmt::format("{}/MANIFEST.json: got no entry of {}", step_folder, name));
    }
  }
}

}  // namespace limbic::checkpoint
