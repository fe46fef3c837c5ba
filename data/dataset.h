// The rows of one data set in memory, and a weighted mix of several. Rows are kept as raw text and
// parsed on access; which rows are used is fixed at load by filter, sample and seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_config.h"
#include "data/messages.h"
#include "data/row.h"

namespace limbic::data {

class Dataset {
 public:
  // Reads every file in order, keeps what the filter keeps, then samples: random:N draws exactly N
  // rows (random:P% the nearest whole number), which stay in the file's order. The draw depends on
  // seed and name only.
  // Throws DataError: a bad line, no row left, fewer rows than the sample wants.
  static Dataset load(const std::string& name, const DatasetConfig& config, std::uint64_t seed);

  const std::string& name() const { return name_; }
  const DatasetConfig& config() const { return config_; }
  std::int64_t size() const { return static_cast<std::int64_t>(places_.size()); }
  // With our names for the columns. Requires: 0 <= index < size().
  Row row(std::int64_t index) const;
  // The line as the file has it.
  std::string_view text(std::int64_t index) const;
  // SHA-256 over the used rows in order, each as its raw text and a line feed.
  const std::string& hash() const { return hash_; }

 private:
  struct Place {
    std::size_t begin = 0;  // in text_
    std::size_t size = 0;   // without the line feed
    std::size_t file = 0;   // index in config_.path
    std::int64_t line = 0;
  };
  void read_all(std::int64_t most_rows);
  void keep(const std::vector<std::int64_t>& chosen);

  std::string name_;
  DatasetConfig config_;
  std::string text_;  // every row, each with a line feed behind it
  std::vector<Place> places_;
  std::string hash_;
};

// Several data sets as one list: the rows of the first `repeat` times over, then those of the
// second, ... A row is named by its index in that list.
class Mixture {
 public:
  // The data sets must outlive the mixture. Requires: at least one, none null.
  explicit Mixture(std::vector<const Dataset*> datasets);

  std::int64_t size() const { return ends_.back(); }
  Row row(std::int64_t index) const;
  const Dataset& dataset_of(std::int64_t index) const;
  // build_messages with the config of the row's data set.
  Json messages(std::int64_t index, bool with_response) const;

 private:
  std::size_t position_of(std::int64_t index) const;

  std::vector<const Dataset*> datasets_;
  std::vector<std::int64_t> ends_;  // [datasets] rows up to and including each, repeats counted
};

}  // namespace limbic::data
