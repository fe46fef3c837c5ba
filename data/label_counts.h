// How often each value of a column stands in the data, and weights that even it out.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "data/dataset.h"

namespace limbic::data {

using LabelCounts = std::map<std::string, std::int64_t>;  // label: rows

// Adds the value of one row: a string as it is, a number or a boolean as JSON text, a list item by
// item. null adds nothing. Throws DataError: an object, or a list inside a list.
void add_label(const Row& row, const std::string& column, LabelCounts& counts);

// Over all rows, repeats counted; rows without the column add nothing, so the result is empty when
// no row has it.
LabelCounts count_labels(const Mixture& rows, const std::string& column);

// total / (labels * count): the mean over all counted rows is 1 and every label weighs the same.
// Requires: counts above 0.
std::map<std::string, double> inverse_frequency_weights(const LabelCounts& counts);

}  // namespace limbic::data
