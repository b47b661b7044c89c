# Builds the consumer in one way, which runs it, and looks at what came with the target: include folders, C++20 and
# threads, no more.   cmake -Dthis_build=FILE -Dname=NAME -Dway=subdirectory|fetch|package|bare -P run.cmake
include(${this_build})
set(folder ${work_folder}/consumer.${name})
file(REMOVE_RECURSE ${folder})
file(MAKE_DIRECTORY ${folder})

function(run)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${folder} RESULT_VARIABLE result OUTPUT_VARIABLE output
                  ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " command "${ARGN}")
    message(FATAL_ERROR "${command}\n${output}\n${result}")
  endif()
endfunction()

if(way STREQUAL "bare")
  run(${bare_compiler} ${CMAKE_CURRENT_LIST_DIR}/main.cpp ${CMAKE_CURRENT_LIST_DIR}/other.cpp ${name_output}consumer.exe)
  run(${folder}/consumer.exe)
  return()
endif()

set(options -Dway=${way} -DCMAKE_EXPORT_COMPILE_COMMANDS=ON)
if(CMAKE_CXX_STANDARD)
  list(APPEND options -DCMAKE_CXX_STANDARD=${CMAKE_CXX_STANDARD})
endif()
if(way STREQUAL "package")
  # Headers need not be installed to `include`.
  run(${CMAKE_COMMAND} -G ${generator} -C ${work_folder}/consumer_cache.cmake -DCMAKE_INSTALL_INCLUDEDIR=include/headers
      -DEIGENFORMER_TESTS=OFF -DEIGENFORMER_BENCH=OFF -DEIGENFORMER_EXAMPLES=OFF -S ${source_folder} -B ${folder}/library)
  run(${CMAKE_COMMAND} --install ${folder}/library --prefix ${folder}/prefix)
  list(APPEND options -Dversion=${version} -Dwith_io=${with_io} -Dwith_sentencepiece=${with_sentencepiece} -Dwith_mpi=${with_mpi}
       -Deigenformer_DIR=${folder}/prefix/${package_folder})
else()
  list(APPEND options -Deigenformer=${source_folder} -DFETCHCONTENT_SOURCE_DIR_EIGENFORMER=${source_folder})
endif()
run(${CMAKE_COMMAND} -G ${generator} -C ${work_folder}/consumer_cache.cmake ${options} -S ${CMAKE_CURRENT_LIST_DIR}
    -B ${folder}/build)
run(${CMAKE_COMMAND} --build ${folder}/build --config Debug)

# Not every generator writes this file, and those of many configurations write in it flags of CMake's own.
if(EXISTS ${folder}/build/compile_commands.json AND NOT generator MATCHES "Multi-Config")
  file(READ ${folder}/build/compile_commands.json commands)
  if(msvc)
    set(unwanted " [-/](W|D|O|arch)[^ \"]*")
  else()
    set(unwanted " -(W|D|O|f|march|mtune|mavx|msse|mfma)[^ \"]*")
  endif()
  string(REGEX MATCHALL "${unwanted}" leaks "${commands}")
  # The compiled library's own macro, and what shared libraries need.
  list(FILTER leaks EXCLUDE REGEX "EIGENFORMER_COMPILED|-fPIC")
  string(REPLACE ";" "" leaks "${leaks}")
  if(NOT commands MATCHES "main.cpp" OR leaks)
    message(FATAL_ERROR "A consumer is compiled with${leaks}:\n${commands}")
  endif()
endif()
