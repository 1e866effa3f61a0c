# Finds TFLite Micro in the source tree TFLM_ROOT and makes the target `tflm` of it.
#
# TFLM_ROOT     the source tree, in which upstream's Makefile has built the library
# TFLM_LIBRARY  the library, where it lies elsewhere or several have been built
set(TFLM_ROOT "" CACHE PATH "Source tree of TFLite Micro, with its library built")
set(TFLM_LIBRARY "" CACHE FILEPATH "libtensorflow-microlite.a (default: searched under TFLM_ROOT/gen)")

set(tflm_make "make -f tensorflow/lite/micro/tools/make/Makefile @tflm_make@microlite")
set(tflm_remedy "
Remedy:
  git clone @tflm_package@ && cd tflite-micro
  git checkout @tflm_version@
  ${tflm_make}
and pass -DTFLM_ROOT=<that folder>. How upstream builds the library:
  https://github.com/tensorflow/tflite-micro/blob/main/@tflm_page@
")

if(NOT TFLM_ROOT)
  message(FATAL_ERROR "TFLM_ROOT: expected the source tree of TFLite Micro, got nothing.${tflm_remedy}")
endif()
get_filename_component(tflm_root "${TFLM_ROOT}" ABSOLUTE BASE_DIR "${CMAKE_BINARY_DIR}")
set(tflm_downloads "${tflm_root}/tensorflow/lite/micro/tools/make/downloads")
foreach(file IN ITEMS
    "${tflm_root}/tensorflow/lite/micro/micro_interpreter.h"
    "${tflm_downloads}/flatbuffers/include/flatbuffers/flatbuffers.h"
    "${tflm_downloads}/gemmlowp/fixedpoint/fixedpoint.h")
  if(NOT EXISTS "${file}")
    message(FATAL_ERROR "TFLM_ROOT: expected the file ${file}, which is not there; "
      "upstream's Makefile downloads what is missing.${tflm_remedy}")
  endif()
endforeach()

set(tflm_library "${TFLM_LIBRARY}")
if(NOT tflm_library)
  set(tflm_patterns @tflm_builds@)
  list(TRANSFORM tflm_patterns PREPEND "${tflm_root}/gen/")
  list(TRANSFORM tflm_patterns APPEND "/lib/libtensorflow-microlite.a")
  file(GLOB tflm_library ${tflm_patterns})
  list(LENGTH tflm_library tflm_found)
  if(tflm_found EQUAL 0)
    message(FATAL_ERROR "TFLM_ROOT: expected TFLite Micro's library for @cpu@, looked for ${tflm_patterns}, "
      "found none.${tflm_remedy}")
  elseif(tflm_found GREATER 1)
    list(JOIN tflm_library "\n  " tflm_found)
    message(FATAL_ERROR "TFLM_ROOT: expected one library, found\n  ${tflm_found}\n"
      "Remedy: choose with -DTFLM_LIBRARY=<file>.")
  endif()
endif()
if(NOT EXISTS "${tflm_library}")
  message(FATAL_ERROR "TFLM_LIBRARY: expected a file, got ${tflm_library}, which is not there.${tflm_remedy}")
endif()
# It changes what lies where in TFLite Micro's structures; upstream's Makefile always sets it.
set(tflm_definitions TF_LITE_STATIC_MEMORY)
# A library built with BUILD_TYPE=release has no messages, and its headers must not ask for them.
file(STRINGS "${tflm_library}" tflm_messages REGEX "MicroPrintf" LIMIT_COUNT 1)
if(tflm_messages)
  message(STATUS "TFLite Micro: ${tflm_library}")
else()
  message(STATUS "TFLite Micro: ${tflm_library}, without messages")
  list(APPEND tflm_definitions TF_LITE_STRIP_ERROR_STRINGS)
endif()

# The model's arena depends on the kernels.
file(STRINGS "${tflm_library}" tflm_cmsis_nn REGEX "arm_convolve_wrapper_s8" LIMIT_COUNT 1)
if(tflm_cmsis_nn)
  list(APPEND tflm_definitions CMSIS_NN)
else()
  list(APPEND tflm_definitions TFLM_REFERENCE_KERNELS)
endif()

add_library(tflm STATIC IMPORTED)
set_target_properties(tflm PROPERTIES
  IMPORTED_LOCATION "${tflm_library}"
  INTERFACE_INCLUDE_DIRECTORIES
    "${tflm_root};${tflm_downloads}/flatbuffers/include;${tflm_downloads}/gemmlowp"
  INTERFACE_COMPILE_DEFINITIONS "${tflm_definitions}"
  INTERFACE_LINK_LIBRARIES "m")
