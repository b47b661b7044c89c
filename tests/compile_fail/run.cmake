# Compiles `source`, which must fail with the sentence that stands after "// expected:" in it. A source without one must
# compile.   cmake -Dthis_build=FILE -Dsource=FILE ["-Dflags=FLAG FLAG .."] -P run.cmake
include(${this_build})
separate_arguments(flags UNIX_COMMAND "${flags}")
file(READ ${source} code)
if(code MATCHES "// expected: ([^\r\n]+)")
  set(expected "${CMAKE_MATCH_1}")
else()
  set(expected "")
endif()

execute_process(COMMAND ${bare_compiler} ${flags} ${only_check} ${source} RESULT_VARIABLE result OUTPUT_VARIABLE output
                ERROR_VARIABLE output)
if(expected STREQUAL "")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "does not compile:\n${output}")
  endif()
else()
  string(FIND "${output}" "${expected}" place)
  if(result EQUAL 0 OR place EQUAL -1)
    message(FATAL_ERROR "expected the error\n  ${expected}\n${result}\n${output}")
  endif()
endif()
