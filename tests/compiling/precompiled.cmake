# A program whose precompiled header contains the library gives no warnings. GCC forgets the pragmas of such a header,
# so code must not rely on them.
#   cmake -Dthis_build=FILE "-Dflags=FLAG FLAG .." -P precompiled.cmake
include(${this_build})
separate_arguments(flags UNIX_COMMAND "${flags}")
set(header ${work_folder}/precompiled/all.hpp)
file(WRITE ${header} "#include <eigenformer/eigenformer.hpp>\n")
foreach(step IN ITEMS "-x;c++-header;${header};-o;${header}.gch"
                      "-Winvalid-pch;-include;${header};${only_check};${CMAKE_CURRENT_LIST_DIR}/precompiled.cpp")
  execute_process(COMMAND ${bare_compiler} ${flags} ${step} RESULT_VARIABLE result ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "does not compile:\n${output}")
  endif()
endforeach()
