// The seam between the runtime and its transports: collectives over the ranks of a run.
//
// Every rank must call every collective, in the same order, from one thread at a time. World size 1
// is not a special case: the local communicator runs the same code. Every wait ends: a rank that
// fails calls `abort`, and nobody waits for the dead.
//
// Before data moves, the ranks compare which collective they are at, with how many bytes of which
// dtype. When they differ, all throw CommError naming both calls. A tensor that a collective cannot
// take (not contiguous, wrong dtype or size, not where the transport reads) is std::logic_error on
// its rank alone. The transports read on the CPU; `make_staged` takes tensors from anywhere, and
// `make_nccl` (trainer/parallel/nccl) lets devices exchange theirs.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/parallel/call.h"

namespace limbic::parallel {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // In place; contiguous tensors of float32, float64, bfloat16 (added in float32, rounded once) or
  // int64. Ranks are added in their order: the sum is the same on all ranks, in every run of this
  // world size and on every transport but NCCL, bit for bit.
  // All collectives throw CommError when contact with a rank is lost or the timeout passes: it
  // names the rank, which call of how many bytes it was, and the time.
  virtual void all_reduce_sum(at::Tensor tensor) = 0;
  // Rank r receives the sum of shard r: the bits that all_reduce_sum gives there (but for NCCL).
  // Requires: input = size() * output elements.
  virtual void reduce_scatter_sum(const at::Tensor& input, at::Tensor output) = 0;
  // Requires: output = size() * input elements; shards in rank order. The input may be the rank's
  // own shard of the output.
  virtual void all_gather(const at::Tensor& input, at::Tensor output) = 0;
  // Any dtype, contiguous.
  virtual void broadcast(at::Tensor tensor, int root) = 0;
  // Returns when every rank has come with this call; the number of the call, from 1 on.
  virtual std::int64_t meet(const Call& call) = 0;
  void barrier() { meet({.kind = CallKind::kBarrier}); }
  // For a rank that is about to end with an error: true when every rank comes here within `seconds`
  // (all failed together), false when one does not or is at another collective, which then throws
  // CommError there. Never throws.
  virtual bool everyone_arrives(double seconds) = 0;
  // Longest wait of every later collective.
  virtual void set_timeout(double seconds) = 0;
  // Bytes of every rank, in rank order; lengths may differ.
  virtual std::vector<std::string> all_gather_bytes(const std::string& mine) = 0;
  // Ranks of one color become a world of their own, numbered in the order of theirs here. Every
  // rank must call. It may not outlive this one, and two of them are never used at a time. Where it
  // is aborted, the whole world is.
  virtual std::unique_ptr<Communicator> split(int color) = 0;
  // Ends the whole world: says `who and why` in one line on stderr and does not return for MPI
  // (exit code `code`); in-process worlds make every waiting rank throw CommError.
  virtual void abort(const std::string& reason, int code) = 0;
};

// One rank; every collective is the identity.
std::unique_ptr<Communicator> make_local();

// `size` ranks in one process, for tests: element r belongs to the thread that plays rank r.
std::vector<std::unique_ptr<Communicator>> make_threads(int size, double timeout_s);

// The world of mpirun or srun. Initialises MPI and finalises it on destruction, unless an exception
// is in flight or contact was lost: then the process ends without, and the launcher ends the
// others. A background watch is not needed: the launcher also ends all ranks when one dies. Throws
// ConfigError when the launcher started many ranks that MPI does not bring together. What is larger
// than `piece_bytes` (the same on all ranks) travels in pieces of that size.
std::unique_ptr<Communicator> make_mpi(double timeout_s, std::int64_t piece_bytes = 64 << 20);

struct Staging {
  bool every_tensor = false;            // those on the CPU, too: for tests without a device
  std::int64_t piece_bytes = 64 << 20;  // size of a buffer; the same on all ranks
};
// `transport` for tensors that lie on a device: piece by piece copied to host memory, exchanged
// there and copied back. Sums have the bits of the transport.
std::unique_ptr<Communicator> make_staged(std::unique_ptr<Communicator> transport,
                                          const Staging& staging = {});

// True under mpirun or srun (environment of Open MPI, PMIx, PMI or a Slurm step of many tasks).
bool started_by_mpi();

}  // namespace limbic::parallel
