# Tests of compilation:
# - every header alone,
# - programs that use eigenformer as its users do,
# - code that must not compile,
# - every header with other compilers and flags.

# --- Headers: each alone, included twice in a file, and in two translation units of one program -----------------------

file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/*.hpp)
if(NOT TARGET eigenformer::io)
  list(FILTER headers EXCLUDE REGEX "/io/")
endif()
if(NOT TARGET eigenformer::sentencepiece)
  list(FILTER headers EXCLUDE REGEX "/sentencepiece\\.hpp")
endif()
if(NOT TARGET eigenformer::mpi)
  list(FILTER headers EXCLUDE REGEX "/mpi\\.hpp")
endif()
set(header_sources ${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp)
set(every_header "")
set(first_of_folders "")
set(folder "none yet")
foreach(header IN LISTS headers)
  string(REPLACE "/" "_" name ${header})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp)
  file(GENERATE OUTPUT ${source} CONTENT "#include \"${header}\"\n#include \"${header}\"\n")
  list(APPEND header_sources ${source})
  if(header MATCHES "/sentencepiece\\.hpp") # compilers for other machines find no library of this one
    string(APPEND every_header "#if __has_include(<sentencepiece_trainer.h>)\n#include \"${header}\"\n#endif\n")
  elseif(header MATCHES "/mpi\\.hpp")
    string(APPEND every_header "#if __has_include(<mpi.h>)\n#include \"${header}\"\n#endif\n")
  else()
    string(APPEND every_header "#include \"${header}\"\n")
  endif()
  get_filename_component(folder_of_header ${header} DIRECTORY)
  if(NOT folder_of_header STREQUAL folder)
    string(APPEND first_of_folders "${header} ")
    set(folder ${folder_of_header})
  endif()
endforeach()
set(all_headers ${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp)
file(GENERATE OUTPUT ${all_headers} CONTENT "${every_header}int main() {}\n")

add_executable(headers_alone ${header_sources})
target_link_libraries(headers_alone PRIVATE eigenformer_own $<TARGET_NAME_IF_EXISTS:eigenformer::io>
                                            $<TARGET_NAME_IF_EXISTS:eigenformer::sentencepiece>
                                            $<TARGET_NAME_IF_EXISTS:eigenformer::mpi>)
target_compile_options(headers_alone PRIVATE $<$<NOT:$<CXX_COMPILER_ID:MSVC>>:-O0>)
target_precompile_headers(headers_alone PRIVATE <Eigen/Core>) # which every header includes first
add_dependencies(thorough_tests headers_alone)

# --- Properties of this build that the test scripts below read --------------------------------------------------------

set(eigen_include $<TARGET_PROPERTY:Eigen3::Eigen,INTERFACE_INCLUDE_DIRECTORIES>)
if(MSVC)
  set(bare_compiler ${CMAKE_CXX_COMPILER} /nologo /EHsc /std:c++20 /I${PROJECT_SOURCE_DIR}/include /I${eigen_include})
  set(only_check /Zs)
  set(cxx17 /std:c++17)
  set(name_output /Fe:)
  set(needed_flags /EHsc)
else()
  set(bare_compiler ${CMAKE_CXX_COMPILER} -std=c++20 -I${PROJECT_SOURCE_DIR}/include -I${eigen_include})
  if(CMAKE_OSX_SYSROOT)
    list(APPEND bare_compiler -isysroot ${CMAKE_OSX_SYSROOT})
  endif()
  set(only_check -fsyntax-only)
  set(cxx17 -std=c++17)
  set(name_output -o)
  set(needed_flags "")
endif()

# Consumers use the tools and packages that this build found, and no flags from the environment.
set(consumer_cache "set(CMAKE_CXX_FLAGS \"${needed_flags}\" CACHE STRING \"\")\n")
if(eigen_SOURCE_DIR)
  set(FETCHCONTENT_SOURCE_DIR_EIGEN ${eigen_SOURCE_DIR})
endif()
foreach(variable IN ITEMS CMAKE_CXX_COMPILER CMAKE_MAKE_PROGRAM CMAKE_TOOLCHAIN_FILE CMAKE_PREFIX_PATH CMAKE_OSX_SYSROOT
                          Eigen3_DIR nlohmann_json_DIR FETCHCONTENT_SOURCE_DIR_EIGEN)
  if(${variable})
    string(APPEND consumer_cache "set(${variable} \"${${variable}}\" CACHE STRING \"\")\n")
  endif()
endforeach()
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/consumer_cache.cmake "${consumer_cache}")

set(this_build ${CMAKE_CURRENT_BINARY_DIR}/this_build.cmake)
file(GENERATE OUTPUT ${this_build} CONTENT "
set(source_folder \"${PROJECT_SOURCE_DIR}\")
set(work_folder \"${CMAKE_CURRENT_BINARY_DIR}\")
set(package_folder \"${package_dir}\")
set(eigen_folder \"${eigen_include}\")
set(version ${PROJECT_VERSION})
set(with_io $<TARGET_EXISTS:eigenformer::io>)
set(with_sentencepiece $<TARGET_EXISTS:eigenformer::sentencepiece>)
set(with_mpi $<TARGET_EXISTS:eigenformer::mpi>)
set(generator \"${CMAKE_GENERATOR}\")
set(msvc \"${MSVC}\")
set(bare_compiler \"${bare_compiler}\")
set(only_check ${only_check})
set(cxx17 ${cxx17})
set(name_output ${name_output})
")

# --- Consumers --------------------------------------------------------------------------------------------------------

function(add_consumer_test name)
  add_test(NAME consumer.${name} COMMAND ${CMAKE_COMMAND} -Dthis_build=${this_build} -Dname=${name} ${ARGN}
                                         -P ${CMAKE_CURRENT_SOURCE_DIR}/consumer/run.cmake)
endfunction()
add_consumer_test(subdirectory -Dway=subdirectory)
add_consumer_test(fetch -Dway=fetch)
add_consumer_test(asks_for_cxx17 -Dway=subdirectory -DCMAKE_CXX_STANDARD=17)
if(EIGENFORMER_INSTALL)
  add_consumer_test(package -Dway=package)
endif()

# Visual Studio's compiler runs only in the environment that its generator sets up, so the tests below cannot call it.
if(CMAKE_GENERATOR MATCHES "Visual Studio")
  return()
endif()
add_consumer_test(bare -Dway=bare)

# --- Code that must not compile ---------------------------------------------------------------------------------------

file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cpp)
foreach(source IN LISTS sources)
  get_filename_component(name ${source} NAME_WE)
  add_test(NAME compile_fail.${name} COMMAND ${CMAKE_COMMAND} -Dthis_build=${this_build} -Dsource=${source}
                                             -P ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/run.cmake)
endforeach()

# --- Every header with other compilers and flags ----------------------------------------------------------------------

# The headers are included by -I, not -isystem, so that the compiler reports warnings in them.
set(compiling ${CMAKE_CURRENT_SOURCE_DIR}/compiling)
add_test(NAME compiling.older_language COMMAND ${CMAKE_COMMAND} -Dthis_build=${this_build}
                                               "-Dheaders=${first_of_folders}" -P ${compiling}/older_language.cmake)
if(MSVC)
  return()
endif()

function(add_headers_test name source flags)
  add_test(NAME compiling.${name} COMMAND ${CMAKE_COMMAND} -Dthis_build=${this_build} -Dsource=${source}
                                          "-Dflags=${flags}" -P ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/run.cmake)
endfunction()
add_headers_test(macros ${compiling}/macros.cpp -I${CMAKE_CURRENT_BINARY_DIR}/headers)
add_headers_test(headers_without_exceptions ${all_headers} "-fno-exceptions -fno-rtti")
add_test(NAME compiling.without_exceptions COMMAND ${CMAKE_COMMAND} -Dthis_build=${this_build}
                                                   -P ${compiling}/without_exceptions.cmake)

# Warnings that users may enable. Eigen is included by -isystem, because its headers cause most of these warnings.
set(warnings "-isystem ${eigen_include} -Werror -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast"
             "-Wdouble-promotion -Wextra-semi -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wcast-align -Wundef"
             "-Wnull-dereference -Wredundant-decls -Wformat=2")
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  list(APPEND warnings "-Wsign-conversion -Wshorten-64-to-32 -Wdocumentation -Wextra-semi-stmt -Wunused-template")
elseif(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND warnings "-Wuseless-cast -Wduplicated-branches -Wduplicated-cond -Wlogical-op")
endif()
string(REPLACE ";" " " warnings "${warnings}")
add_headers_test(warnings ${all_headers} "${warnings}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_headers_test(warnings_of_matrix_units ${all_headers} "${warnings} -march=sapphirerapids")
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    add_test(NAME compiling.precompiled
             COMMAND ${CMAKE_COMMAND} -Dthis_build=${this_build} "-Dflags=${warnings} -march=sapphirerapids"
                     -P ${compiling}/precompiled.cmake)
  endif()
endif()

include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_FLAGS "-m32 -msse2")
check_cxx_source_compiles("#include <cerrno>\n#include <thread>\n#include <vector>\nint main() { return 0; }"
                          eigenformer_compiles_32_bit) # <cerrno> is missing if g++-multilib is only partly installed
unset(CMAKE_REQUIRED_FLAGS)
if(eigenformer_compiles_32_bit)
  add_headers_test(32_bit ${all_headers} "-m32 -msse2")
else()
  message(STATUS "Not tested: 32-bit machines, since the compiler does not build for them (-m32)")
endif()

if(TARGET eigenformer::io)
  set(json $<TARGET_PROPERTY:nlohmann_json::nlohmann_json,INTERFACE_INCLUDE_DIRECTORIES>)
else()
  set(json "")
endif()
find_program(EIGENFORMER_EMXX em++)
find_program(EIGENFORMER_NODE node)
if(EIGENFORMER_EMXX AND EIGENFORMER_NODE)
  add_test(NAME compiling.emscripten
           COMMAND ${CMAKE_COMMAND} -Demxx=${EIGENFORMER_EMXX} -Dnode=${EIGENFORMER_NODE} -Dthis_build=${this_build}
                   -Djson=${json}
                   -Dheaders=${all_headers} -Dexample=${PROJECT_SOURCE_DIR}/examples/01_attention.cpp
                   -P ${compiling}/emscripten.cmake)
else()
  message(STATUS "Not tested: Emscripten, since em++ or node was not found")
endif()
