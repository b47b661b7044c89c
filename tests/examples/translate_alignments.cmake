# Tests `translate train --alignments`: `cmake -D translate=PROGRAM -D folder=SCRATCH -P translate_alignments.cmake`.
# evaluate, run and align must report the trained links. Links must stay in step with pairs that are held out or
# skipped. Wrong input must give one line on stderr and exit code 1.
include(${CMAKE_CURRENT_LIST_DIR}/translate_calls.cmake)

# Links that no translation would suggest: the full stop of the source with the first word, and so on.
write_pairs(pairs.tsv word other)
string(REPEAT "2-0 2-1 0-2 0-3 1-4\n" 60 links)
file(WRITE ${folder}/links.txt "${links}")
file(WRITE ${folder}/source.txt "word1 other1.\nword2 other2.\n")
file(WRITE ${folder}/target.txt "词一它一。\n词二它二。\n")
file(WRITE ${folder}/two_links.txt "2-0 2-1 0-2 0-3 1-4\n2-0 2-1 0-2 0-3 1-4\n")

# --- The chosen head learns the links ---

set(quick --updates 250 --width 32 --dropout 0 --pairs pairs.tsv --alignments links.txt --guided-alignment-weight 1)
foreach(kind IN ITEMS "second;--layers;2;--rate;0.02" "chosen;--layers;2;--rate;0.02;--alignment-layer;2;--alignment-head;3"
                      "only;--layers;1;--rate;0.02" "recurrent;--model;recurrent;--rate;0.01;--warmup;50")
  list(POP_FRONT kind model)
  succeeds("alignments: 295 links in the training pairs.*BLEU 100" train ${quick} --out ${model} ${kind})
  succeeds("alignment error rate 0.00 %" evaluate --model ${model} --source source.txt --reference target.txt
           --alignments two_links.txt)
  succeeds("^词一它一。 [|][|][|] 0-2 0-3 1-4 2-0 2-1\n" run --model ${model} --alignments)
  succeeds("^0-2 0-3 1-4 2-0 2-1\n$" align --model ${model} --source "word1 other1." --target "词一它一。" --view pharaoh)
endforeach()
# A translation is printed without the tokens <s> and </s> within it. Its links count the printed tokens alone.
execute_process(COMMAND ${translate} run --model only --alignments --end-token 它 --disable-unk --sampling-topk 0
                        --sampling-temperature 5 --n-best 16
                WORKING_DIRECTORY ${folder} INPUT_FILE ${folder}/source.txt OUTPUT_VARIABLE samples)
string(REGEX MATCHALL "[|][|][|] [^\n]* [|][|][|] [^\n]* [|][|][|]" samples "${samples}")
foreach(sample IN LISTS samples)
  string(REGEX MATCH "^[|]+ ([^ ]*) [|]+ (.*) [|]+$" sample "${sample}")
  string(LENGTH "${CMAKE_MATCH_1}" bytes) # three for each token
  string(REGEX MATCHALL "-" links_found "${CMAKE_MATCH_2}")
  list(LENGTH links_found links_found)
  math(EXPR expected "3 * ${links_found}")
  if(NOT bytes EQUAL expected)
    message(SEND_ERROR "run --alignments --end-token 它: the links do not match the tokens in ${sample}")
  endif()
endforeach()
list(LENGTH samples count)
if(NOT count EQUAL 32)
  message(SEND_ERROR "run --alignments --end-token 它 --n-best 16: printed ${count} samples for 2 lines")
endif()
foreach(kind IN ITEMS "second;1;1" "chosen;2;3")
  list(GET kind 0 model)
  list(GET kind 1 layer)
  list(GET kind 2 head)
  succeeds("alignment error rate 0.00 %" evaluate --model ${model} --source source.txt --reference target.txt
           --alignments two_links.txt --layer ${layer} --head ${head})
endforeach()
file(READ ${folder}/chosen/training.json stored)
if(NOT stored MATCHES "\"alignments\": \"links.txt\"" OR NOT stored MATCHES "\"guided-alignment-weight\": 1.0" OR
   NOT stored MATCHES "\"alignment-head\": 3" OR NOT stored MATCHES "\"alignment-layer\": 2")
  message(SEND_ERROR "training.json lacks the options on alignments:\n${stored}")
endif()

# A large weight makes a large loss, but the training does not diverge.
foreach(model IN ITEMS transformer recurrent)
  succeeds("best so far, saved" train --pairs pairs.tsv --alignments links.txt --out heavy --model ${model} --updates 3
           --width 32 --layers 1 --guided-alignment-weight 1000)
endforeach()

# --- Links stay in step with pairs that are held out or skipped ---

# Each pair links its last tokens. In most other pairs, this link would be out of range.
set(pairs "")
set(links "")
foreach(i RANGE 1 60)
  math(EXPR length "(${i} * 7) % 11")
  string(REPEAT "a " ${length} source)
  string(REPEAT "b " ${length} target)
  string(APPEND pairs "${source}c\t${target}d\n")
  string(APPEND links "${length}-${length}\n")
endforeach()
file(WRITE ${folder}/steps.tsv "${pairs}")
file(WRITE ${folder}/steps.txt "${links}")
set(steps --pairs steps.tsv --tokens words --updates 1 --width 32 --layers 1 --alignments)
succeeds("skipped.*alignments: [0-9]+ links.*loss" train ${steps} steps.txt --out steps --max-length 9)
succeeds("alignments: 59 links" train ${steps} steps.txt --out steps)
succeeds("alignments: 60 links" train ${steps} steps.txt --out steps --valid-pairs pairs.tsv)

# A stream keeps them in step too, and any number of threads gives the same model. The counts are of the first buffer.
set(streamed --tokens words --width 32 --layers 1 --max-length 9 --shuffle-buffer 16 --updates 40 --threads)
string(REGEX REPLACE "\t[^\n]*" "" sources "${pairs}")
string(REGEX REPLACE "[^\n\t]*\t" "" targets "${pairs}")
file(WRITE ${folder}/steps.source "${sources}")
file(WRITE ${folder}/steps.target "${targets}")
foreach(threads IN ITEMS 1 2)
  succeeds("skipped[^\n]*of training .of the 1[0-9] read so far.*alignments: [0-9]+ links in the training pairs .of the 1[0-9] read"
           train --pairs steps.tsv --alignments steps.txt ${streamed} ${threads} --out streamed${threads})
  file(SHA256 ${folder}/streamed${threads}/model.safetensors streamed${threads})
endforeach()
succeeds("alignments: [0-9]+ links" train --source steps.source --target steps.target --alignments steps.txt ${streamed}
         2 --out streamed_files)
file(SHA256 ${folder}/streamed_files/model.safetensors streamed_files)
succeeds("saved" train --pairs steps.tsv ${streamed} 2 --out unlinked)
file(SHA256 ${folder}/unlinked/model.safetensors unlinked)
if(NOT streamed1 STREQUAL streamed2 OR NOT streamed1 STREQUAL streamed_files OR streamed1 STREQUAL unlinked)
  message(SEND_ERROR "a stream with --alignments: the model depends on the threads or the kind of files, or not on links")
endif()
succeeds("BLEU 100" train ${quick} --rate 0.02 --layers 1 --shuffle-buffer 16 --out streamed)
succeeds("alignment error rate 0.00 %" evaluate --model streamed --source source.txt --reference target.txt
         --alignments two_links.txt)
succeeds("vocabularies are those of steps.*alignments: 59 links" train ${steps} steps.txt --out tuned --init steps)

# --- Wrong input ---

string(REGEX REPLACE "[^\n]+\n$" "" short "${links}")
file(WRITE ${folder}/short.txt "${short}")
file(WRITE ${folder}/long.txt "${links}0-0\n")
file(WRITE ${folder}/shifted.txt "0-0\n${short}")
file(WRITE ${folder}/faulty.txt "0-0\n0-0 1:1\n")
fails_with("steps.tsv has 60 lines, short.txt has 59" train ${steps} short.txt --out new)
fails_with("steps.tsv has 60 lines, long.txt has 61" train ${steps} long.txt --out new)
fails_with("shifted.txt:[0-9]+: the link [0-9]+-[0-9]+ leaves the pair, which has [0-9]+ source tokens and [0-9]+ target"
           train ${steps} shifted.txt --out new)
fails_with("shifted.txt:[0-9]+: the link [0-9]+-[0-9]+ leaves the pair" train ${steps} shifted.txt --out new --init steps)
file(WRITE ${folder}/last.txt "${short}0-99\n")  # a stream is checked before the first update
fails_with("last.txt:60: the link 0-99 leaves the pair" train ${steps} last.txt --out new --shuffle-buffer 8)
fails_with("faulty.txt:2: expected links as in 0-0 1-2, given \"1:1\" at byte 4" train ${steps} faulty.txt --out new)
fails_with("nowhere.txt" train ${steps} nowhere.txt --out new)
fails_with("--alignments: links are between words, but this model has subwords" train --pairs steps.tsv --out new
           --alignments steps.txt --source-subwords 40)
fails_with("--alignments: needs attention, but --context is initial" train ${steps} steps.txt --out new
           --model recurrent --context initial)
fails_with("--alignment-layer and --alignment-head: are 2 and 0, but a recurrent model" train ${steps} steps.txt
           --out new --model recurrent --alignment-layer 2)
fails_with("--alignment-layer: is 2, the decoder has 1 layers" train ${steps} steps.txt --out new --alignment-layer 2)
fails_with("--alignment-head: is 5, a layer has 4 heads" train ${steps} steps.txt --out new --alignment-head 5)
fails_with("need --alignments" train --pairs steps.tsv --out new --updates 1 --alignment-head 1)
fails_with("--guided-alignment-weight: is -1, expected a number from 0 to 1000" train ${steps} steps.txt --out new
           --guided-alignment-weight=-1)
