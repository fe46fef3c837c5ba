// A module of an interface that no binary wants.
#include <cstdint>

extern "C" std::uint32_t limbic_module_interface() { return 0; }
