# As C++17, each of `headers` gives one error, which says what is needed.
#   cmake -Dthis_build=FILE "-Dheaders=HEADER HEADER .." -P older_language.cmake
include(${this_build})
separate_arguments(headers UNIX_COMMAND "${headers}")
set(source ${work_folder}/older_language.cpp)
foreach(header IN LISTS headers)
  file(WRITE ${source} "#include <${header}>\n")
  execute_process(COMMAND ${bare_compiler} ${cxx17} ${only_check} ${source} RESULT_VARIABLE result
                  OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX MATCHALL "error( [A-Z][0-9]+)?: " errors "${output}")
  list(LENGTH errors count)
  if(result EQUAL 0 OR NOT count EQUAL 1 OR NOT output MATCHES "eigenformer needs C\\+\\+20")
    message(FATAL_ERROR "${header}: expected one error, \"eigenformer needs C++20\", given ${count}:\n${output}")
  endif()
endforeach()
