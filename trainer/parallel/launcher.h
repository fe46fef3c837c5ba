// What the environment says about who started this process.
#pragma once

namespace limbic::parallel {

// Ranks that mpirun or srun started together with this one; 1 when the environment names no number.
int launched_ranks();

}  // namespace limbic::parallel
