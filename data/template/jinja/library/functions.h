// The functions that every template can call.
#pragma once

#include <memory>
#include <vector>

#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

using Namespaces = std::vector<std::shared_ptr<Namespace>>;

// Undefined when there is no such function. Namespaces that the template makes are also put into
// `namespaces`: one can hold itself, so their owner has to empty them. Both references must
// outlive the value.
Value find_function(std::string_view name, Budget& budget, Namespaces& namespaces);

Value make_function(std::string name, std::function<Value(const Args&)> call);

}  // namespace limbic::data::jinja
