# The CUDA backend: a library of its own, built where nvcc is. It links CUDA's runtime statically and
# finds everything else (driver, cuBLASLt, NVRTC, NCCL) when it is loaded.
set(TOKAMAK_CUDA AUTO CACHE STRING "CUDA backend: AUTO (where nvcc is), ON or OFF")
set(TOKAMAK_CUDA_ARCHITECTURES "80-real;89-real;90a-real;100-real" CACHE STRING
    "Compute capabilities to compile for")
if(NOT TOKAMAK_CUDA STREQUAL OFF AND NOT TOKAMAK_SANITIZE AND NOT TOKAMAK_FUZZ)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES ${TOKAMAK_CUDA_ARCHITECTURES})
    set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
    if(CMAKE_CXX_COMPILER_LAUNCHER)
      set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
    endif()
    enable_language(CUDA)
    # CMake 3.25 does not know that nvcc has C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
    find_package(CUDAToolkit REQUIRED)
  elseif(TOKAMAK_CUDA STREQUAL ON)
    message(FATAL_ERROR "TOKAMAK_CUDA is ON, but no nvcc was found")
  endif()
endif()

# All of src/backend/cuda as libtokamak_cuda.so, beside the program.
function(tokamak_cuda_plugin)
  if(NOT CMAKE_CUDA_COMPILER)
    return()
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/backend/cuda/*.cc
       ${CMAKE_CURRENT_SOURCE_DIR}/backend/cuda/*.cu)
  add_library(tokamak_cuda MODULE ${sources})
  target_link_libraries(tokamak_cuda PRIVATE tokamak_backend CUDA::cudart_static)
  target_compile_options(tokamak_cuda PRIVATE
      "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wno-unknown-pragmas>")
  set_target_properties(tokamak_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()
