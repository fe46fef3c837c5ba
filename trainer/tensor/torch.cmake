# LibTorch from the PyPI wheel, as imported targets. `find_package(Torch)` of a CUDA wheel demands a
# toolkit; the targets below need none. The wheel carries an old google/protobuf, so its include
# folders come after the system's (-idirafter).

set(LIMBIC_VENV "$ENV{LIMBIC_VENV}" CACHE PATH "Virtual environment that holds the torch wheel")
if(NOT LIMBIC_VENV)
  set(LIMBIC_VENV "$ENV{HOME}/.cache/limbic/venv" CACHE PATH "" FORCE)
endif()
file(GLOB LIMBIC_SITE "${LIMBIC_VENV}/lib/python3*/site-packages")
set(LIMBIC_TORCH "${LIMBIC_SITE}/torch")
if(NOT EXISTS "${LIMBIC_TORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no torch wheel in ${LIMBIC_VENV}; run ./launch/setup.sh or set LIMBIC_VENV")
endif()

function(limbic_imported target library)
  add_library(${target} SHARED IMPORTED GLOBAL)
  set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${library})
endfunction()

limbic_imported(Torch::c10 "${LIMBIC_TORCH}/lib/libc10.so")
limbic_imported(Torch::cpu "${LIMBIC_TORCH}/lib/libtorch_cpu.so")
# at::parallel_for is a template that runs serially where OpenMP is off at compile time. Its runtime
# is the wheel's own, never a second one: so -fopenmp when compiling, but not when linking.
limbic_imported(Torch::gomp "${LIMBIC_TORCH}/lib/libgomp.so.1")
target_link_libraries(Torch::cpu INTERFACE Torch::c10 Torch::gomp)
target_compile_options(Torch::cpu INTERFACE -fopenmp
  "SHELL:-idirafter ${LIMBIC_TORCH}/include"
  "SHELL:-idirafter ${LIMBIC_TORCH}/include/torch/csrc/api/include")
target_link_options(Torch::cpu INTERFACE "-Wl,-rpath,${LIMBIC_TORCH}/lib"
  "-Wl,-rpath-link,${LIMBIC_TORCH}/lib")

# CUDA comes with the wheel and the packages that it depends on, headers included. Whatever links
# Torch::cuda needs all of it: torch's kernels register themselves when their library is loaded.
file(GLOB LIMBIC_CUDA_HEADERS "${LIMBIC_SITE}/nvidia/cu[0-9]*/include")
if(EXISTS "${LIMBIC_TORCH}/lib/libtorch_cuda.so" AND EXISTS "${LIMBIC_CUDA_HEADERS}/cuda_runtime_api.h")
  add_library(Cuda::headers INTERFACE IMPORTED GLOBAL)
  target_compile_options(Cuda::headers INTERFACE "SHELL:-idirafter ${LIMBIC_CUDA_HEADERS}"
    "SHELL:-idirafter ${LIMBIC_SITE}/nvidia/nccl/include")
  limbic_imported(Torch::c10_cuda "${LIMBIC_TORCH}/lib/libc10_cuda.so")
  limbic_imported(Torch::cuda "${LIMBIC_TORCH}/lib/libtorch_cuda.so")
  target_link_libraries(Torch::cuda INTERFACE Torch::c10_cuda Cuda::headers)
  target_link_options(Torch::cuda INTERFACE "-Wl,--no-as-needed")
endif()

# NCCL is loaded at run time: from beside the wheel, before the system's.
if(EXISTS "${LIMBIC_SITE}/nvidia/nccl/lib")
  target_link_options(Torch::cpu INTERFACE "-Wl,-rpath,${LIMBIC_SITE}/nvidia/nccl/lib")
endif()

# One precompiled header for every target that uses torch.
function(limbic_use_torch_pch target)
  if(TARGET limbic_tensor AND NOT ${target} STREQUAL limbic_tensor)
    target_precompile_headers(${target} REUSE_FROM limbic_tensor)
  else()
    target_precompile_headers(${target} PRIVATE ${CMAKE_SOURCE_DIR}/trainer/tensor/torch_pch.h)
  endif()
endfunction()

# Versions for `limbic --version`, read from the wheel.
file(STRINGS "${LIMBIC_TORCH}/version.py" lines REGEX "__version__|^cuda")
string(REGEX REPLACE ".*__version__ = '([^']*)'.*" "\\1" LIMBIC_TORCH_VERSION "${lines}")
string(REGEX REPLACE ".*cuda: [^=]*= '?([^';]*)'?.*" "\\1" LIMBIC_CUDA_VERSION "${lines}")
set(LIMBIC_NCCL_VERSION none)
if(EXISTS "${LIMBIC_SITE}/nvidia/nccl/include/nccl.h")
  file(STRINGS "${LIMBIC_SITE}/nvidia/nccl/include/nccl.h" lines REGEX "define NCCL_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3"
         LIMBIC_NCCL_VERSION "${lines}")
endif()
