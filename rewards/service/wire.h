// Between limbic's own structs and the messages of proto/reward.proto.
#pragma once

#include <string>

#include "rewards/scorer.h"

namespace limbic::reward::v1 {
class DescribeReply;
class Sample;
class Score;
}  // namespace limbic::reward::v1

namespace limbic::rewards {

// gRPC writes several lines with places in its own sources to stderr; what matters of them comes
// back as a status. They go to limbic's log, below what it shows.
void take_log_of_grpc();

// Ill-formed UTF-8, which the wire cannot carry, becomes U+FFFD.
void to_wire(const Completion& completion, reward::v1::Sample& out);
Completion from_wire(const reward::v1::Sample& sample);

void to_wire(const Score& score, const std::string& key, reward::v1::Score& out);
// What breaks the protocol (no status, a number that is missing, superfluous or not finite) becomes
// a failed score that says so.
Score from_wire(const reward::v1::Score& score);

void to_wire(const Description& description, reward::v1::DescribeReply& out);
Description from_wire(const reward::v1::DescribeReply& reply);

}  // namespace limbic::rewards
