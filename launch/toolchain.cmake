# Compiler flags, launchers and the `limbic_layer` helper that every folder uses.

find_program(LIMBIC_CCACHE ccache)
if(LIMBIC_CCACHE)
  # The base directory makes a fresh clone elsewhere reuse the cache; the sloppiness lets it cache
  # files that use a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${LIMBIC_CCACHE})
endif()
find_program(LIMBIC_MOLD mold)
if(LIMBIC_MOLD)
  # Debian 12's mold starts the read-only part at .tbss, and where that falls into the page before,
  # no program of that layout loads: "cannot apply additional memory protection after relocation"
  # (github.com/rui314/mold, issue 1151).
  add_link_options(-fuse-ld=mold -Wl,-z,norelro)
endif()

# g++ 12 reports both falsely, on std::string (GCC bug 105651) and on std::variant (105562).
add_compile_options(-pthread -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror -Wno-restrict -Wno-maybe-uninitialized -fpch-preprocess -g1)
# The compiler collects its garbage rarely: a tenth less time for some more of the 1.5 GB of a job.
add_compile_options("SHELL:--param ggc-min-expand=100" "SHELL:--param ggc-min-heapsize=1000000")
if(LIMBIC_SANITIZE)
  add_compile_options(-fsanitize=${LIMBIC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LIMBIC_SANITIZE})
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc i18n)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(CURL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
add_compile_definitions(OMPI_SKIP_MPICXX)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
find_package(gRPC REQUIRED)

# limbic_layer(NAME [TORCH] [PRIVATE_LIBS ...] [LIBS ...])
# One static library from every .cpp of the current folder. TORCH gives it LibTorch. One precompiled
# header serves all layers with torch, another one those without.
function(limbic_layer name)
  cmake_parse_arguments(ARG "TORCH" "" "LIBS;FOLDERS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(folder ${ARG_FOLDERS})
    file(GLOB more CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp)
    list(APPEND sources ${more})
  endforeach()
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(NOT sources)
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${ARG_LIBS})
    return()
  endif()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_LIBS})
  if(ARG_TORCH)
    target_link_libraries(${name} PUBLIC Torch::cpu)
    limbic_use_torch_pch(${name})
  elseif(name STREQUAL limbic_base)
    target_precompile_headers(${name} PRIVATE ${CMAKE_SOURCE_DIR}/trainer/base/base_pch.h)
  else()
    target_precompile_headers(${name} REUSE_FROM limbic_base)
  endif()
endfunction()
