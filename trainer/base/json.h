// JSON values. What nlohmann's templates make of them is compiled once, in json.cpp: it would cost
// every file that prints or parses one a second or two.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace limbic {

// Keeps the order of its keys.
using Json = nlohmann::ordered_json;

}  // namespace limbic

extern template class nlohmann::basic_json<nlohmann::ordered_map>;
extern template class nlohmann::basic_json<>;
extern template class nlohmann::detail::serializer<nlohmann::ordered_json>;
extern template class nlohmann::detail::serializer<nlohmann::json>;
extern template class nlohmann::detail::lexer<
    nlohmann::ordered_json, nlohmann::detail::iterator_input_adapter<std::string::const_iterator>>;
extern template class nlohmann::detail::parser<
    nlohmann::ordered_json, nlohmann::detail::iterator_input_adapter<std::string::const_iterator>>;
