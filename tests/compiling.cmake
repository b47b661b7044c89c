# Tests of compiling itself: every header alone, programs that use eigenformer as its users do, code that must not
# compile.

# --- Headers: each alone, each twice in a file, each in two translation units of one program --------------------------

file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/*.hpp)
if(NOT TARGET eigenformer::io)
  list(FILTER headers EXCLUDE REGEX "/io/")
endif()
set(header_sources ${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp)
set(all_headers "")
foreach(header IN LISTS headers)
  string(REPLACE "/" "_" name ${header})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp)
  file(GENERATE OUTPUT ${source} CONTENT "#include \"${header}\"\n#include \"${header}\"\n")
  list(APPEND header_sources ${source})
  string(APPEND all_headers "#include \"${header}\"\n")
endforeach()
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp CONTENT "${all_headers}int main() {}\n")

add_executable(headers_alone ${header_sources})
target_link_libraries(headers_alone PRIVATE eigenformer_own $<TARGET_NAME_IF_EXISTS:eigenformer::io>)
target_compile_options(headers_alone PRIVATE $<$<NOT:$<CXX_COMPILER_ID:MSVC>>:-O0>)
target_precompile_headers(headers_alone PRIVATE <Eigen/Core>) # which every header includes first
add_dependencies(tests headers_alone)

# --- What the scripts of the tests below need to know of this build ---------------------------------------------------

set(eigen_include $<TARGET_PROPERTY:Eigen3::Eigen,INTERFACE_INCLUDE_DIRECTORIES>)
if(MSVC)
  set(bare_compiler ${CMAKE_CXX_COMPILER} /nologo /EHsc /std:c++20 /I${PROJECT_SOURCE_DIR}/include /I${eigen_include})
  set(only_check /Zs)
  set(name_output /Fe:)
  set(needed_flags /EHsc)
else()
  set(bare_compiler ${CMAKE_CXX_COMPILER} -std=c++20 -I${PROJECT_SOURCE_DIR}/include -I${eigen_include})
  if(CMAKE_OSX_SYSROOT)
    list(APPEND bare_compiler -isysroot ${CMAKE_OSX_SYSROOT})
  endif()
  set(only_check -fsyntax-only)
  set(name_output -o)
  set(needed_flags "")
endif()

# A consumer finds what this build found, and has no flags from the environment.
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
set(build_folder \"${PROJECT_BINARY_DIR}\")
set(work_folder \"${CMAKE_CURRENT_BINARY_DIR}\")
set(package_folder \"${package_dir}\")
set(version ${PROJECT_VERSION})
set(with_io $<TARGET_EXISTS:eigenformer::io>)
set(generator \"${CMAKE_GENERATOR}\")
set(msvc \"${MSVC}\")
set(bare_compiler \"${bare_compiler}\")
set(only_check ${only_check})
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

# Visual Studio's generator calls a compiler that does not run without the environment it is given there.
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
