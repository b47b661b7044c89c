# Checks all headers by Emscripten, then builds an example and runs it.
#   cmake -Demxx=PROGRAM -Dnode=PROGRAM -Djson=FOLDER -Dthis_build=FILE -Dheaders=FILE -Dexample=FILE -P emscripten.cmake
include(${this_build})
set(folder ${work_folder}/emscripten)
file(REMOVE_RECURSE ${folder})
file(MAKE_DIRECTORY ${folder}/include)
# By links, since /usr/include has this machine's C library too.
file(CREATE_LINK ${eigen_folder}/Eigen ${folder}/include/Eigen SYMBOLIC)
foreach(json_folder IN LISTS json)
  file(CREATE_LINK ${json_folder}/nlohmann ${folder}/include/nlohmann SYMBOLIC)
endforeach()

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " command "${ARGN}")
    message(FATAL_ERROR "${command}\n${output}\n${result}")
  endif()
endfunction()

set(compiler ${emxx} -std=c++20 -I${source_folder}/include -I${folder}/include)
run(${compiler} -fsyntax-only ${headers})
# In one file: what Emscripten 3.1.6 makes to read a second one fails in node 18 and newer.
run(${compiler} -O1 -sSINGLE_FILE=1 ${example} -o ${folder}/example.js)
run(${node} ${folder}/example.js)
