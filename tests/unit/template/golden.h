// Files of the golden folder, made by make_golden.py.
#pragma once

#include <string>

#include "data/template/chat_template.h"
#include "trainer/base/file.h"

namespace limbic::data {

inline const std::string kGolden = std::string(LIMBIC_SOURCE_DIR) + "/tests/unit/template/golden/";

inline Json read_golden(const std::string& name) { return Json::parse(read_file(kGolden + name)); }

inline ChatTemplate golden_template(const std::string& name) {
  return ChatTemplate::parse(read_file(kGolden + "templates/" + name), name,
                             Json::object({{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
}

}  // namespace limbic::data
