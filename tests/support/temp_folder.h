// A folder of its own for one test, removed at the end.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace limbic::test {

class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

// The message of the exception of type E that `run` throws; "no error" when it throws none.
template <class E, class Run>
std::string message_of(Run&& run) {
  try {
    run();
  } catch (const E& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace limbic::test
