#include "trainer/base/error.h"

namespace limbic {

void check(bool invariant, const std::string& message) {
  if (!invariant) throw std::logic_error("bug in limbic: " + message);
}

}  // namespace limbic
