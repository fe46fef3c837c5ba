#include "trainer/parallel/collectives.h"

#include <cmath>
#include <exception>
#include <filesystem>

#include "trainer/base/error.h"

namespace limbic::parallel {
namespace {

// Kinds of failure that the ranks tell each other.
enum class Kind : char {
  kNone = 'n',
  kConfig = 'c',
  kData = 'd',
  kRemote = 'r',
  kInterrupted = 'i',
  kOther = 'o'
};

[[noreturn]] void throw_as(Kind kind, const std::string& message) {
  switch (kind) {
    case Kind::kConfig:
      throw ConfigError(message);
    case Kind::kData:
      throw DataError(message);
    case Kind::kRemote:
      throw RemoteError(message);
    case Kind::kInterrupted:
      throw Interrupted(message);
    default:
      throw CommError(message);
  }
}

// What this rank tells: the kind and the message of its failure.
std::string report_of(const std::exception_ptr& failure) {
  const auto report = [](Kind kind, const char* what) {
    return std::string(1, static_cast<char>(kind)) + what;
  };
  if (!failure) return report(Kind::kNone, "");
  try {
    std::rethrow_exception(failure);
  } catch (const ConfigError& e) {
    return report(Kind::kConfig, e.what());
  } catch (const DataError& e) {
    return report(Kind::kData, e.what());
  } catch (const std::filesystem::filesystem_error& e) {
    return report(Kind::kData, e.what());
  } catch (const RemoteError& e) {
    return report(Kind::kRemote, e.what());
  } catch (const Interrupted& e) {
    return report(Kind::kInterrupted, e.what());
  } catch (const std::exception& e) {
    return report(Kind::kOther, e.what());
  } catch (...) {
    return report(Kind::kOther, "failed with what is no exception");
  }
}

at::Tensor as_tensor(std::vector<double>& values) {
  return at::from_blob(values.data(), {static_cast<std::int64_t>(values.size())},
                       at::TensorOptions().dtype(at::kDouble));
}

}  // namespace

std::vector<double> sum(Communicator& communicator, std::vector<double> values) {
  communicator.all_reduce_sum(as_tensor(values));
  return values;
}

std::vector<double> max(Communicator& communicator, std::vector<double> values) {
  const auto ranks = static_cast<std::size_t>(communicator.size());
  std::vector<double> all(values.size() * ranks);
  communicator.all_gather(as_tensor(values), as_tensor(all));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = all[i];
    for (std::size_t r = 1; r < ranks; ++r) {
      const double theirs = all[r * values.size() + i];
      if (theirs > values[i] || std::isnan(theirs)) values[i] = theirs;  // NaN stays
    }
  }
  return values;
}

std::string broadcast_text(Communicator& communicator, const std::string& text) {
  return communicator.all_gather_bytes(communicator.rank() == 0 ? text : std::string())[0];
}

void together(Communicator& communicator, const std::function<void()>& work) {
  std::exception_ptr failure;
  try {
    work();
  } catch (const CommError&) {
    throw;  // the others cannot be told
  } catch (...) {
    failure = std::current_exception();
  }
  std::vector<std::string> reports;
  try {
    reports = communicator.all_gather_bytes(report_of(failure));
  } catch (const CommError&) {
    if (!failure) throw;  // this rank's own error says more than the contact lost after it
  }
  if (failure) std::rethrow_exception(failure);
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    const Kind kind = static_cast<Kind>(reports[rank][0]);
    if (kind == Kind::kNone) continue;
    throw_as(kind, fmt::format("rank {}: {}", rank, reports[rank].substr(1)));
  }
}

}  // namespace limbic::parallel
