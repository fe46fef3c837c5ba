#include "rewards/score.h"

namespace limbic::rewards {

const char* status_name(Status status) {
  switch (status) {
    case Status::kScored:
      return "scored";
    case Status::kNotApplicable:
      return "not_applicable";
    case Status::kFailed:
      return "failed";
  }
  return "failed";
}

Score failed_score(const std::string& component, const std::string& detail) {
  return {Status::kFailed, std::nullopt, {{component, Status::kFailed, std::nullopt, detail}}};
}

}  // namespace limbic::rewards
