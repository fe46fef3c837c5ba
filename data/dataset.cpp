#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "data/json_lines.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/seed.h"

namespace limbic::data {

void Dataset::read_all(std::int64_t most_rows) {
  const RowFilter filter(config_.filter);
  for (std::size_t file = 0; file < config_.path.size(); ++file) {
    JsonLines lines(config_.path[file]);
    while (size() < most_rows) {
      const auto line = lines.next();
      if (!line) break;
      if (!filter.keeps_all()) {
        Json value = rename_columns(Json::parse(line->text), config_);
        if (!filter.keeps({std::move(value), config_.path[file], line->number})) continue;
      }
      places_.push_back({text_.size(), line->text.size(), file, line->number});
      text_ += line->text;
      text_ += '\n';
    }
  }
}

void Dataset::keep(const std::vector<std::int64_t>& chosen) {
  std::string text;
  std::vector<Place> places;
  places.reserve(chosen.size());
  for (const std::int64_t index : chosen) {
    Place place = places_[static_cast<std::size_t>(index)];
    const std::size_t begin = text.size();
    text.append(text_, place.begin, place.size + 1);
    place.begin = begin;
    places.push_back(place);
  }
  text_ = std::move(text);
  places_ = std::move(places);
}

Dataset Dataset::load(const std::string& name, const DatasetConfig& config, std::uint64_t seed) {
  const Sample sample = parse_sample(config.sample);
  Dataset dataset;
  dataset.name_ = name;
  dataset.config_ = config;
  const bool first = sample.kind == Sample::Kind::kFirst;
  dataset.read_all(first ? sample.rows : std::numeric_limits<std::int64_t>::max());

  const std::int64_t found = dataset.size();
  std::int64_t wanted = sample.rows;
  if (sample.kind == Sample::Kind::kAll) wanted = found;
  if (sample.kind == Sample::Kind::kRandomPercent) {
    wanted = std::llround(static_cast<double>(found) * sample.percent / 100.0);
  }
  if (found == 0 || wanted == 0 || wanted > found) {
    throw DataError(fmt::format("{}: got {} rows{} for 'sample: {}' of data set '{}', want {}",
                                config.path.empty() ? "" : config.path.front(), found,
                                config.filter.is_null() ? "" : " after the filter", config.sample,
                                name, wanted > found ? fmt::format("{}", wanted) : "at least one"));
  }
  if (wanted < found) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(found));
    std::iota(order.begin(), order.end(), 0);
    Random random(derive_seed(derive_seed(seed, "sample"), name));
    random.shuffle(std::span<std::int64_t>(order));
    order.resize(static_cast<std::size_t>(wanted));
    std::sort(order.begin(), order.end());
    dataset.keep(order);
  }
  dataset.hash_ = sha256(dataset.text_);
  return dataset;
}

std::string_view Dataset::text(std::int64_t index) const {
  check(index >= 0 && index < size(), "row index out of range");
  const Place& place = places_[static_cast<std::size_t>(index)];
  return std::string_view(text_).substr(place.begin, place.size);
}

Row Dataset::row(std::int64_t index) const {
  Json value = rename_columns(Json::parse(text(index)), config_);
  const Place& place = places_[static_cast<std::size_t>(index)];
  return {std::move(value), config_.path[place.file], place.line};
}

Mixture::Mixture(std::vector<const Dataset*> datasets) : datasets_(std::move(datasets)) {
  check(!datasets_.empty(), "a mixture needs a data set");
  std::int64_t rows = 0;
  for (const Dataset* dataset : datasets_) {
    check(dataset != nullptr, "a mixture needs data sets");
    rows += dataset->size() * dataset->config().repeat;
    ends_.push_back(rows);
  }
}

std::size_t Mixture::position_of(std::int64_t index) const {
  check(index >= 0 && index < size(), "row index out of range");
  const auto found = std::upper_bound(ends_.begin(), ends_.end(), index);
  return static_cast<std::size_t>(found - ends_.begin());
}

Row Mixture::row(std::int64_t index) const {
  const std::size_t position = position_of(index);
  const std::int64_t begin = position == 0 ? 0 : ends_[position - 1];
  const Dataset& dataset = *datasets_[position];
  return dataset.row((index - begin) % dataset.size());
}

const Dataset& Mixture::dataset_of(std::int64_t index) const {
  return *datasets_[position_of(index)];
}

Json Mixture::messages(std::int64_t index, bool with_response) const {
  return build_messages(row(index), dataset_of(index).config(), with_response);
}

}  // namespace limbic::data
