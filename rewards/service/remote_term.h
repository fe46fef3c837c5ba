// `type: remote`: a term that reward workers compute. Its value is the workers' reward; the
// workers' components are reported as NAME/COMPONENT.
#pragma once

#include "rewards/service/remote_scorer.h"
#include "rewards/terms/term.h"

namespace limbic::rewards {

struct RemoteTermConfig {
  RemoteOptions remote;
};
void describe(Fields& f, RemoteTermConfig& c);
std::unique_ptr<Term> make_term(const RemoteTermConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
