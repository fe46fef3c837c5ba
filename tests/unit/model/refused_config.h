// What ModelConfig says of a config.json that it does not take.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "trainer/base/error.h"

namespace limbic::model {

inline std::string refusal(const Json& config) {
  return test::message_of<DataError>([&] { ModelConfig::parse(config, "here/config.json"); });
}

inline void expect_refused(const char* key, const Json& value, const std::string& part) {
  Json config = tiny_config();
  config[key] = value;
  const std::string message = refusal(config);
  EXPECT_NE(message.find("here/config.json"), std::string::npos) << message;
  EXPECT_NE(message.find(part), std::string::npos) << "want '" << part << "' in: " << message;
}

}  // namespace limbic::model
