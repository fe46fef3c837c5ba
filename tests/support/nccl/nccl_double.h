// A library with NCCL's functions (trainer/parallel/nccl/api.h) over host memory, for tests on
// machines without a GPU. Its ranks may be threads of a process or processes of a machine: they
// meet in POSIX shared memory that the unique id names. As NCCL's communicators that do not block,
// it takes calls at once and works them off on a thread of its own; it adds in rank order. Calls of
// ranks that differ in kind, size, type or root end with "invalid usage" on all ranks.
//
// What a test needs besides is here: streams, faults, and what became of the communicators.
#pragma once

namespace limbic::test {

enum class NcclFault : int {
  kNone,
  kOldVersion,     // ncclGetVersion says 2.10.3
  kNoId,           // ncclGetUniqueId fails
  kInitFails,      // a rank's communicator ends in an error while it is made
  kInitNeverEnds,  // ... is never ready
  kRefuses,        // a collective of a rank is refused at once
  kFailsOnTheWay,  // ... is taken and then fails
  kNeverEnds,      // ... is taken and never done
};

struct NcclCounts {
  int made = 0, destroyed = 0, aborted = 0;
};

// What the library exports besides NCCL's functions, as C symbols.
struct NcclDouble {
  void* (*make_stream)();             // limbic_double_make_stream
  void (*free_stream)(void* stream);  // limbic_double_free_stream
  int (*stream_done)(void* stream);   // limbic_double_stream_done
  // From now on, in this process: at collective number `call` (from 1) of rank `rank`.
  void (*set_fault)(NcclFault fault, int rank, int call);  // limbic_double_set_fault
  NcclCounts (*counts)();                                  // of this process; limbic_double_counts
};

}  // namespace limbic::test
