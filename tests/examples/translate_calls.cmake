# Shared by the tests of the translation program: scratch files, and calls that must succeed or fail. Before including
# it, set `translate` (the program) and `folder` (scratch, which is emptied).
file(REMOVE_RECURSE ${folder})
file(MAKE_DIRECTORY ${folder})

# write_pairs(FILE FIRST SECOND): writes 60 pairs of two words and a full stop. The translations are characters.
function(write_pairs file first second)
  set(pairs "")
  set(numbers 零 一 二 三 四 五 六)
  foreach(i RANGE 1 60)
    math(EXPR a "${i} % 7")
    math(EXPR b "${i} % 5")
    list(GET numbers ${a} first_number)
    list(GET numbers ${b} second_number)
    string(APPEND pairs "${first}${a} ${second}${b}.\t词${first_number}它${second_number}。\n")
  endforeach()
  file(WRITE ${folder}/${file} "${pairs}")
endfunction()

# succeeds(EXPECTED ARGUMENTS...): runs the program on source.txt. Its output must match EXPECTED. If the variable
# `silent` is set, stderr must be empty.
function(succeeds expected)
  execute_process(COMMAND ${translate} ${ARGN} WORKING_DIRECTORY ${folder} INPUT_FILE ${folder}/source.txt
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE result)
  if(NOT result EQUAL 0 OR (silent AND NOT errors STREQUAL ""))
    message(SEND_ERROR "translate ${ARGN}: exit code ${result}\n${output}${errors}")
  elseif(NOT output MATCHES "${expected}")
    message(SEND_ERROR "translate ${ARGN}: expected ${expected}, printed\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

# fails_with(EXPECTED ARGUMENTS...): the program must give one line on stderr that matches EXPECTED and exit code 1. It
# must not leave a model in the folder `new`.
function(fails_with expected)
  execute_process(COMMAND ${translate} ${ARGN} WORKING_DIRECTORY ${folder} INPUT_FILE ${folder}/source.txt
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE result)
  string(REGEX MATCHALL "\n" line_ends "${errors}")
  list(LENGTH line_ends lines)
  if(NOT result EQUAL 1 OR NOT lines EQUAL 1 OR NOT errors MATCHES "^translate: .*${expected}")
    message(SEND_ERROR "translate ${ARGN}: expected exit code 1 and one line with \"${expected}\", "
                       "got ${result} and\n${errors}")
  endif()
  if(EXISTS ${folder}/new)
    message(SEND_ERROR "translate ${ARGN}: left a model behind")
    file(REMOVE_RECURSE ${folder}/new)
  endif()
endfunction()

# damage_model(MODEL COPY TOKEN): copies the folder of a model and puts a NaN into the embedding of a source token. Works
# on UNIX only.
function(damage_model model copy token)
  file(REMOVE_RECURSE ${folder}/${copy})
  file(COPY ${folder}/${model}/ DESTINATION ${folder}/${copy} PATTERN checkpoints EXCLUDE)
  file(STRINGS ${folder}/${copy}/source_vocabulary.txt tokens ENCODING UTF-8)
  list(FIND tokens "${token}" row)
  set(file ${folder}/${copy}/model.safetensors)
  file(READ ${file} size LIMIT 4 HEX)
  string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1" size ${size})
  math(EXPR size "${size}")
  file(READ ${file} header OFFSET 8 LIMIT ${size})
  string(REGEX MATCH "\"source_embedding.weight\":{[^}]*}" tensor "${header}")
  string(REGEX MATCH "\"shape\":.[0-9]+,([0-9]+)" width "${tensor}")
  set(width ${CMAKE_MATCH_1})
  string(REGEX MATCH "\"data_offsets\":.([0-9]+)" begin "${tensor}")
  math(EXPR place "8 + ${size} + ${CMAKE_MATCH_1} + 4 * ${row} * ${width}")
  execute_process(COMMAND printf "\\377\\377\\377\\377"
                  COMMAND dd of=${file} bs=1 seek=${place} conv=notrunc RESULT_VARIABLE result ERROR_QUIET)
  if(NOT result EQUAL 0 OR row LESS 0)
    message(SEND_ERROR "damage_model: cannot damage the token ${token}, row ${row}, of ${file}")
  endif()
endfunction()
