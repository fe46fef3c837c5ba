#include "trainer/base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace limbic {

void configure_log(int rank, int world) {
  auto logger = std::make_shared<spdlog::logger>(
      "limbic", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern(world > 1 && rank > 0 ? fmt::format("%^%l:%$ rank {}: %v", rank)
                                            : std::string("%^%l:%$ %v"));
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace limbic
