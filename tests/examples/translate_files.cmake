# Tests the translation program with unusual files and streams:
# `cmake -D translate=PROGRAM -D folder=SCRATCH -P translate_files.cmake`. Every loss of output must give one line on
# stderr and exit code 1, and the program must not replace files that are not its own.
find_program(shell sh)
if(NOT shell)
  message(STATUS "skipped: there is no sh")
  return()
endif()
file(REMOVE_RECURSE ${folder})
file(MAKE_DIRECTORY ${folder})

# Each language has one frequent and one rare sentence, and words that occur once.
set(pairs "")
foreach(i RANGE 1 60)
  if(i LESS 46)
    string(APPEND pairs "one two.\ta a a a\n")
  elseif(i LESS 51)
    string(APPEND pairs "one two.\tc c c c\n")
  else()
    string(APPEND pairs "one two.\tw${i}a w${i}b w${i}c w${i}d w${i}e w${i}f w${i}g w${i}h w${i}i w${i}j\n")
  endif()
endforeach()
file(WRITE ${folder}/pairs.tsv "${pairs}")
file(WRITE ${folder}/rare.tsv "one two.\tc c c c\n")
file(WRITE ${folder}/source.txt "one two.\n")
file(WRITE ${folder}/target.txt "a a a a\n")

function(run_shell command)
  execute_process(COMMAND ${shell} -c "translate='${translate}'; ${command}" WORKING_DIRECTORY ${folder}
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE result)
  set(output "${output}" PARENT_SCOPE)
  set(errors "${errors}" PARENT_SCOPE)
  set(result "${result}" PARENT_SCOPE)
endfunction()

function(succeeds expected command)
  run_shell("${command}")
  if(NOT result EQUAL 0 OR NOT output MATCHES "${expected}")
    message(SEND_ERROR "${command}: expected ${expected} and exit code 0, got ${result} and\n${output}${errors}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(fails_with expected command)
  run_shell("${command}")
  string(REGEX MATCHALL "\n" line_ends "${errors}")
  list(LENGTH line_ends lines)
  if(NOT result EQUAL 1 OR NOT lines EQUAL 1 OR NOT errors MATCHES "^translate: .*${expected}")
    message(SEND_ERROR "${command}: expected exit code 1 and one line with \"${expected}\", got ${result} and\n${errors}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(train "$translate train --tokens words --threads 1")
set(train_once "${train} --pairs pairs.tsv --updates 1")
set(align "$translate align --model model --source 'one two.' --target 'a a'")

# --- Long sentences ---

succeeds("skipped pairs with more than 9 tokens .--max-length.: (10 of training, 0|9 of training, 1) of validation"
         "${train_once} --out short --max-length 9")
fails_with("pairs.tsv: no training pair has at most 2 tokens .--max-length."
           "${train_once} --out shorter --max-length 2")

# --- Model folders ---

succeeds("700" "mkdir -m 700 real && ln -s real model && ${train_once} --out model && test -L model && ls -ld real | grep -q '^drwx------' && echo 700")
succeeds("600" "chmod 600 real/config.json && ${train_once} --out model/ && ls -l real/config.json | grep -q '^-rw-------' && echo 600")
# While BLEU is 0, the model with the lowest perplexity is saved.
succeeds("perplexity [0-9.]+  BLEU 0.00 [^\n]*saved\n.*BLEU 0.00 [^\n]*saved\n.*BLEU 0.00, is in o"
         "mkdir o && ${train} --pairs pairs.tsv --updates 20 --min-count 1 --valid-pairs rare.tsv --out o > o/train.log && cat o/train.log")
succeeds("^checkpoints\nconfig.json\nmodel.safetensors\nquality.json\nsource_vocabulary.txt\ntarget_vocabulary.txt\ntrain.log\ntraining.json\n$" "ls -A o")
foreach(out IN ITEMS nowhere/m pairs.tsv pairs.tsv/m "''")
  fails_with("" "${train_once} --out ${out}")
  if(NOT output STREQUAL "")
    message(SEND_ERROR "train --out ${out}: worked before it failed:\n${output}")
  endif()
endforeach()
fails_with("config.json: it is a folder" "mkdir -p blocked/config.json && ${train_once} --out blocked")

fails_with("checkpoints: it is a file, expected a folder" "mkdir taken && touch taken/checkpoints && ${train_once} --out taken")
if(NOT output STREQUAL "")
  message(SEND_ERROR "train --out taken: worked before it failed:\n${output}")
endif()

# --- Output files ---

succeeds("^[01]-0" "ln -s elsewhere.svg link.svg && ${align} --view pharaoh --svg link.svg && test -L link.svg && grep -q '</svg>' elsewhere.svg")
succeeds("first.*[01]-0.*</svg>\nlast" "(echo first; ${align} --view pharaoh --svg /dev/stdout; echo last) > all; cat all")
succeeds("^p[^\n]*\n.*</svg>" "mkfifo pipe && (cat pipe > read & ${align} --svg pipe > printed; wait; ls -l pipe; cat read)")
# A log keeps what is printed to the same file.
succeeds("training pairs.*\nupdate,loss,.*\n1,,,,,,[^\n]*\nthe best model, [^\n]*\n$"
         "${train_once} --out printing --log /dev/stdout > both; cat both")
# So does one under another name of the descriptor. A file in /dev is a file like any other.
run_shell("ln -s /dev/stdout stdout_link")
foreach(log IN ITEMS /proc/self/fd/1 stdout_link)
  if(NOT log MATCHES "/proc" OR EXISTS /proc/self/fd)
    succeeds("training pairs.*\nupdate,loss,.*\n1,,,,,,[^\n]*\nthe best model, [^\n]*\n$"
             "${train_once} --out printing --log ${log} > both; cat both")
  endif()
endforeach()
if(EXISTS /dev/shm)
  succeeds("^update,loss,[^\n]*\n1,[^\n]*\n2,[^\n]*\n2,,,,,,[^\n]*\n$"
           "shared=$(mktemp -d /dev/shm/translate.XXXXXX) && ${train} --pairs pairs.tsv --updates 2 --validate-every 2 --out shared --log $shared/log.csv > printed; cat $shared/log.csv; rm -r $shared")
endif()
# Uses device files of its own, because a fault would replace those of the machine.
run_shell("mknod null c 1 3 && mknod full c 1 7 && echo > null")
if(result EQUAL 0)
  succeeds("^c" "${align} --svg null > printed && ls -l null")
  fails_with("full: the disk is full" "${align} --svg full")
  # The run is saved before a full disk ends it.
  fails_with("--log: full: cannot be written" "${train} --pairs pairs.tsv --updates 40 --out logged --log full")
  succeeds("resumed after update 1" "${train} --out logged --resume --updates 2 --log null")
else()
  message(STATUS "skipped: devices cannot be made here")
endif()
foreach(command IN ITEMS "${align} --svg" "$translate demo --svg")
  fails_with("nowhere/a.svg" "${command} nowhere/a.svg")
  if(NOT output STREQUAL "")
    message(SEND_ERROR "${command} nowhere/a.svg: worked before it failed:\n${output}")
  endif()
endforeach()

fails_with("loop: cannot be opened: too many symbolic links" "ln -s loop loop && ${train} --pairs loop --updates 1 --out new")

# --- Standard streams ---

fails_with("standard input.*" "$translate run --model model < .")
fails_with("standard input.*" "$translate run --model model <&-")
fails_with("cannot be opened: it is a folder" "${train} --pairs . --updates 1 --out new")
fails_with("" "$translate evaluate --model model --source . --reference target.txt")
fails_with("" "$translate run --model source.txt < source.txt")
set(commands "$translate run --model model < source.txt"
             "$translate evaluate --model model --source source.txt --reference target.txt"
             "$translate score --model model --source source.txt --target target.txt"
             "${align}" "${align} --view matrix" "${align} --view pharaoh" "${align} --svg a.svg" "${train_once} --out new"
             "$translate --help" "$translate train --help" "$translate compare --epochs 1" "$translate demo --svg a.svg")
foreach(command IN LISTS commands)
  fails_with("standard output: cannot be written: it is closed" "${command} >&-")
  if(EXISTS /dev/full)
    fails_with("standard output: cannot be written" "${command} > /dev/full")
  endif()
endforeach()
