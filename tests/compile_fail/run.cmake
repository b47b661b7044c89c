# Compiles `source`, which must fail with the sentences that stand after "// expected:" in it, with one error for each
# and few lines around it. A source without any must compile.
#   cmake -Dthis_build=FILE -Dsource=FILE ["-Dflags=FLAG FLAG .."] -P run.cmake
include(${this_build})
separate_arguments(flags UNIX_COMMAND "${flags}")
set(max_lines 25) # for one error
file(STRINGS ${source} expected REGEX "// expected: ")

execute_process(COMMAND ${bare_compiler} ${flags} ${only_check} ${source} RESULT_VARIABLE result OUTPUT_VARIABLE output
                ERROR_VARIABLE output)
list(LENGTH expected count)
if(count EQUAL 0)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "does not compile:\n${output}")
  endif()
  return()
endif()

foreach(line IN LISTS expected)
  string(REGEX REPLACE ".*// expected: " "" sentence "${line}")
  string(FIND "${output}" "${sentence}" place)
  if(result EQUAL 0 OR place EQUAL -1)
    message(FATAL_ERROR "expected the error\n  ${sentence}\n${result}\n${output}")
  endif()
endforeach()
string(REGEX MATCHALL "error( C[0-9]+)?: " errors "${output}")
list(LENGTH errors error_count)
string(REGEX MATCHALL "\n" lines "${output}")
list(LENGTH lines line_count)
math(EXPR most "${count} * ${max_lines}")
if(NOT error_count EQUAL count OR line_count GREATER most)
  message(FATAL_ERROR "expected ${count} errors on at most ${most} lines, found ${error_count} on ${line_count}\n${output}")
endif()
