# Tests the command line of the translation program: `cmake -D translate=PROGRAM -D folder=SCRATCH -P translate.cmake`.
# First trains, runs, evaluates and aligns models. Then checks that every kind of wrong input gives one line on stderr
# that says what and where, exit code 1, and no half-written model.
include(${CMAKE_CURRENT_LIST_DIR}/translate_calls.cmake)

# --- Valid input ---

write_pairs(pairs.tsv word other)
file(WRITE ${folder}/source.txt "word1 other1.\nword2 other2.\n")
file(WRITE ${folder}/target.txt "词一它一。\n词二它二。\n")

succeeds("source: words.*target: characters.*perplexity.*best so far, saved" train --pairs pairs.tsv --out model
         --updates 3 --threads 2)
succeeds("loss" train --source source.txt --target target.txt --valid-pairs pairs.tsv --tokens words --out model
         --epochs 1 --min-count 1)
succeeds("\n.*\n" run --model model)
succeeds("BLEU.*nrefs:1.*chrF" evaluate --model model --source source.txt --reference target.txt)
succeeds("word1" align --model model --source "word1 other1." --target "词一它一。" --layer 1 --head 2 --svg a.svg)
# Every reading in every view, and the same subcommands with recurrent models.
file(WRITE ${folder}/links.txt "0-0 1-1\n0-0 1-1\n")
succeeds("exact match.*alignment error rate" evaluate --model model --source source.txt --reference target.txt
         --alignments links.txt --layer 2)
succeeds("\tword1\tother1\t[^\t]*\t</s>\n词一它一\t0" align --model model --source "word1 other1." --target "词一它一。" --view matrix)
succeeds("^[012]-0\n$" align --model model --source "word1 other1." --target "词一" --view pharaoh)
succeeds("词" align --model model --source "word1 other1." --target "词一" --reading influence)
foreach(kind IN ITEMS "attention;--score;dot;--no-input-feeding" "attention;--encoder;convolution" "initial;--cell;lstm"
                      "every_step;--encoder;self_attention")
  succeeds("best so far, saved" train --pairs pairs.tsv --out recurrent --model recurrent --updates 3 --width 32
           --context ${kind})
  succeeds("\n.*\n" run --model recurrent)
  succeeds("BLEU" evaluate --model recurrent --source source.txt --reference target.txt)
  succeeds("word1" align --model recurrent --source "word1 other1." --target "词一它一。" --reading influence)
endforeach()
succeeds("best so far, saved" train --pairs pairs.tsv --out fed --model recurrent --updates 3 --width 32 --layers 2)
succeeds("word1" align --model fed --source "word1 other1." --target "词一它一。")

# Options of the run, from the command line and from a file.
foreach(options IN ITEMS "--optimizer;adamw;--schedule;cosine" "--optimizer;muon;--weight-decay;0.1;--schedule;linear"
                         "--schedule;warmup_stable_decay;--accumulate;2;--ema;0.9" "--average;2;--checkpoint-every;1"
                         "--freeze;encoder.*;--freeze;*.bias;--init;model"
                         "--embedding-dropout;0;--attention-dropout;0.3;--activation-dropout;0.4"
                         "--heads;8;--feed-forward;96;--post-norm" "--label-smoothing;0" "--norm-first;--epochs;0"
                         "--model;recurrent;--encoder;self_attention;--heads;2;--width;32")
  succeeds("best so far, saved" train --pairs pairs.tsv --out chosen --updates 3 ${options})
endforeach()
succeeds("no improvement in 1 validations: training stops" train --pairs pairs.tsv --out patient --updates 40 --rate 1e-9
         --patience 1)
succeeds("no improvement in 30 validations: training stops" train --pairs pairs.tsv --out patient --updates 40 --rate 1e-9
         --patience 30 --validate-every 1 --width 16 --layers 1 --model recurrent)
# 0 minutes are no limit.
succeeds("no improvement in 2 validations: training stops" train --pairs pairs.tsv --out patient --minutes 0 --rate 1e-9
         --patience 2 --validate-every 1 --width 16 --layers 1)
file(READ ${folder}/patient/training.json stored)
if(NOT stored MATCHES "\"minutes\": 0")
  message(SEND_ERROR "--minutes 0 was stored as\n${stored}")
endif()
fails_with("--patience: is 2, but without --validate-every a run without a limit validates only when it is stopped" train
           --pairs pairs.tsv --out new --minutes 0 --patience 2)
# A run that has ended says why nothing follows. It continues with other limits, also from --config.
succeeds("no updates are left: --patience is 2, and the last validations brought no improvement\nthe best" train
         --out patient --resume)
# The chosen shape of the model.
succeeds("best so far, saved" train --pairs pairs.tsv --out shaped --updates 1 --width 64 --heads 2 --feed-forward 96
         --post-norm)
file(READ ${folder}/shaped/config.json config)
if(NOT config MATCHES "\"heads\": 2,.*\"norm_first\": false" OR NOT config MATCHES "\"dim_feedforward\": 96")
  message(SEND_ERROR "--heads, --feed-forward and --post-norm gave\n${config}")
endif()
# Label smoothing raises the loss of the first update, before which the models are equal.
foreach(smoothing IN ITEMS 0 0.1 0.5)
  succeeds("saved" train --pairs pairs.tsv --out smoothed --updates 1 --width 16 --layers 1 --dropout 0 --threads 1
           --label-smoothing ${smoothing} --log smoothed_${smoothing}.csv)
  file(STRINGS ${folder}/smoothed_${smoothing}.csv lines)
  list(GET lines 1 line)
  string(REGEX MATCH "^1,([0-9.]+)," line "${line}")
  set(loss_${smoothing} ${CMAKE_MATCH_1})
endforeach()
succeeds("saved" train --pairs pairs.tsv --out smoothed --updates 1 --width 16 --layers 1 --dropout 0 --threads 1
         --log smoothed.csv)
file(STRINGS ${folder}/smoothed.csv lines)
list(GET lines 1 line)
if(NOT line MATCHES "^1,${loss_0.1}," OR loss_0 STREQUAL loss_0.1 OR loss_0.1 STREQUAL loss_0.5)
  message(SEND_ERROR "--label-smoothing 0, 0.1, 0.5 and none gave the losses ${loss_0}, ${loss_0.1}, ${loss_0.5}, ${line}")
endif()
# Averages of the last and of the best checkpoints. A run without --resume removes old files.
succeeds("average of the last 2 checkpoints: validation" train --pairs pairs.tsv --out averaged --updates 4 --average 2
         --checkpoint-every 1)
foreach(updates IN ITEMS 6 4)
  succeeds("average of the best 3 checkpoints: validation" train --pairs pairs.tsv --out averaged --updates ${updates}
           --average 3 --average-of best)
  file(GLOB kept ${folder}/averaged/checkpoints/best/*)
  list(LENGTH kept kept)
  if(NOT kept EQUAL 3)
    message(SEND_ERROR "--average 3 --average-of best keeps ${kept} files")
  endif()
endforeach()
succeeds("saved" train --pairs pairs.tsv --out averaged --updates 1)
if(EXISTS ${folder}/averaged/checkpoints/best)
  message(SEND_ERROR "a new run left the best models of the last one")
endif()
file(WRITE ${folder}/options.json "{\"pairs\": \"pairs.tsv\", \"out\": \"configured\", \"updates\": 5, \"width\": 64, \"seed\": 7}")
succeeds("update +2 " train --config options.json --updates 2 --width 32 --log log.csv --plot plot.svg)
file(READ ${folder}/configured/training.json stored)
if(NOT stored MATCHES "\"seed\": 7" OR NOT stored MATCHES "\"updates\": 2" OR NOT stored MATCHES "\"width\": 32")
  message(SEND_ERROR "training.json has other options than those that were given:\n${stored}")
endif()
file(READ ${folder}/log.csv log)
if(NOT log MATCHES "^update,loss,rate,gradient_norm,tokens,seconds,perplexity,bleu\n1,[^\n]*\n.*\n?2,[^\n]*,,\n2,,,,,,[0-9]")
  message(SEND_ERROR "--log wrote\n${log}")
endif()
succeeds("best so far, saved" train --config configured/training.json --out repeated)
file(SHA256 ${folder}/configured/model.safetensors first)
file(SHA256 ${folder}/repeated/model.safetensors second)
if(NOT first STREQUAL second)
  message(SEND_ERROR "a run repeated from its training.json gave another model")
endif()
# Updates span epochs: two epochs of 30 batches give three updates of 25 batches. The rate of the last update is 0.
succeeds("saved" train --pairs pairs.tsv --out spanning --epochs 2 --batch-tokens 12 --accumulate 25 --schedule linear
         --width 16 --layers 1 --log spanning.csv)
file(READ ${folder}/spanning.csv log)
if(NOT log MATCHES "\n2,[^,]+,[0-9.e-]*[1-9]," OR NOT log MATCHES "\n3,[^,]+,0,[^\n]*,,\n3,,,,,,[^\n]*\n$")
  message(SEND_ERROR "--epochs 2 --accumulate 25 --schedule linear logged\n${log}")
endif()
# The preset's warm-up becomes a tenth of the updates if it does not fit; a given one that just fits is kept.
foreach(run IN ITEMS "2;--schedule;cosine" "2;--schedule;linear" "2;--schedule;warmup_stable_decay"
                     "19;--schedule;linear;--warmup;19" "16;--schedule;warmup_stable_decay;--warmup;16")
  list(POP_FRONT run peak)
  succeeds("saved" train --pairs pairs.tsv --out warmed --updates 20 --rate 0.003 --width 16 --layers 1
           --validate-every 20 --log warmed.csv ${run})
  file(READ ${folder}/warmed.csv log)
  if(NOT log MATCHES "\n${peak},[^,]+,0.003,.*\n20,[^,]+,0,")
    message(SEND_ERROR "${run}: expected the rate 0.003 at update ${peak} and 0 at update 20, logged\n${log}")
  endif()
endforeach()
# A stored run is accepted again, with every kind of option, and keeps them all.
file(MAKE_DIRECTORY ${folder}/stored)
succeeds("saved" train --pairs pairs.tsv --out stored/first --updates 2 --minutes 3.5 --freeze encoder.* --freeze *.bias
         --freeze decoder.layers.0.* --post-norm --checkpoint-activations --source-tokens words --target-tokens characters
         --rate 1e-9 --weight-decay 0 --optimizer adamw --width 32 --heads 2 --shuffle-buffer 16 --seed 18446744073709551615
         --average 2 --joint-vocabulary --dropout 0.07 --log log.csv)
succeeds("saved" train --config stored/first/training.json --out stored/second)
file(READ ${folder}/stored/first/training.json first)
file(READ ${folder}/stored/second/training.json second)
string(REPLACE "stored/second" "stored/first" second "${second}")
if(NOT first STREQUAL second)
  message(SEND_ERROR "a run repeated from its training.json stored\n${second}instead of\n${first}")
endif()
succeeds("resumed after update 2" train --resume --out stored/first --updates 3)
succeeds("no updates are left: --updates is 3\n" train --resume --out stored/first)
file(WRITE ${folder}/more.json "{\"updates\": 4, \"width\": 32}")
succeeds("resumed after update 3\nupdate +4 " train --resume --out stored/first --config more.json)
file(WRITE ${folder}/wider.json "{\"updates\": 5, \"width\": 64}")
fails_with("--width: is 64, but the run in stored/first was begun with 32" train --resume --out stored/first
           --config wider.json)
succeeds("resumed after update 4\nupdate +5 " train --resume --out stored/first --config wider.json --width 32)
# A run in bfloat16 is stored, and repeated with another number of threads.
succeeds("best so far, saved" train --config configured/training.json --out mixed --precision bfloat16)
file(READ ${folder}/mixed/training.json stored)
if(NOT stored MATCHES "\"precision\": \"bfloat16\"")
  message(SEND_ERROR "training.json does not have --precision:\n${stored}")
endif()
file(SHA256 ${folder}/mixed/model.safetensors mixed)
if(mixed STREQUAL first)
  message(SEND_ERROR "--precision bfloat16 changed nothing")
endif()
succeeds("best so far, saved" train --config mixed/training.json --out mixed_again --threads 3)
file(SHA256 ${folder}/mixed_again/model.safetensors again)
if(NOT mixed STREQUAL again)
  message(SEND_ERROR "a run in bfloat16 with three threads gave another model")
endif()
# The plot of a resumed run also shows the updates and validations before it was resumed.
succeeds("resumed after update 2" train --resume --out configured --updates 3 --plot resumed.svg)
foreach(plot IN ITEMS "plot;2" "resumed;3")
  list(POP_FRONT plot name)
  file(READ ${folder}/${name}.svg svg)
  string(REGEX MATCHALL "<circle class=.bleu" circles "${svg}")
  list(LENGTH circles circles)
  if(NOT circles EQUAL plot OR NOT svg MATCHES "training loss.*at update ${plot}<.*</svg>\n$")
    message(SEND_ERROR "--plot ${name}.svg shows ${circles} validations, expected ${plot}")
  endif()
endforeach()

# A translation does not depend on the other sentences of its batch, even if it reaches the token limit.
string(REPEAT "word2 " 100 long)
file(WRITE ${folder}/alone.txt "word1 other1.\n")
file(WRITE ${folder}/beside.txt "word1 other1.\n${long}\n")
foreach(model IN ITEMS model recurrent fed)
  foreach(input IN ITEMS alone beside)
    execute_process(COMMAND ${translate} run --model ${model} WORKING_DIRECTORY ${folder}
                    INPUT_FILE ${folder}/${input}.txt OUTPUT_VARIABLE ${input})
  endforeach()
  string(FIND "${beside}" "${alone}" place)
  if(NOT place EQUAL 0)
    message(SEND_ERROR "translate run --model ${model}: alone\n${alone}beside a long sentence\n${beside}")
  endif()
endforeach()

if(NOT EXISTS ${folder}/a.svg OR NOT EXISTS ${folder}/model/model.safetensors)
  message(SEND_ERROR "align --svg or train --out wrote nothing")
endif()

# --- Invalid input ---

# A pipe can be read only once, a file several times.
if(UNIX)
  execute_process(COMMAND cat pairs.tsv COMMAND ${translate} train --pairs /dev/stdin --out piped --updates 1
                  WORKING_DIRECTORY ${folder} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  if(NOT result EQUAL 0 OR NOT output MATCHES "best so far, saved")
    message(SEND_ERROR "training from a pipe: got ${result}, ${output}${errors}")
  endif()
endif()

# A corpus that is larger than the shuffle buffer is streamed. A pipe of that size is refused.
foreach(threads IN ITEMS 1 2)
  succeeds("59 training pairs, 1 validation.*best so far, saved" train
           --pairs pairs.tsv --out streamed${threads} --updates 20 --width 32 --shuffle-buffer 16 --threads ${threads})
  file(SHA256 ${folder}/streamed${threads}/model.safetensors streamed${threads})
endforeach()
succeeds("saved" train --pairs pairs.tsv --out unstreamed --updates 20 --width 32)
file(SHA256 ${folder}/unstreamed/model.safetensors unstreamed)
if(NOT streamed1 STREQUAL streamed2 OR streamed1 STREQUAL unstreamed)
  message(SEND_ERROR "--shuffle-buffer: the model depends on the number of threads, or not on the buffer")
endif()
if(UNIX)
  execute_process(COMMAND cat pairs.tsv COMMAND ${translate} train --pairs /dev/stdin --out new --updates 1
                          --shuffle-buffer 59
                  WORKING_DIRECTORY ${folder} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  if(NOT result EQUAL 1 OR NOT errors MATCHES "/dev/stdin: has more than 59 lines and can be read only once")
    message(SEND_ERROR "streaming from a pipe: got ${result}, ${output}${errors}")
  endif()
endif()
fails_with("--batch-tokens: is 64, expected more than --max-length, 256, because" train --pairs pairs.tsv --out new
           --updates 1 --batch-tokens 64 --shuffle-buffer 16)

# Pairs of a stream that are too long are counted as they are read, each once.
set(pairs "")
foreach(i RANGE 1 80)
  string(REPEAT "a b.\tc\n" 7 short)
  string(APPEND pairs "${short}one two three four five six seven eight nine.\td\n")
endforeach()
file(WRITE ${folder}/mixed.tsv "${pairs}")
foreach(epochs IN ITEMS 1 2)
  succeeds("9 tokens .--max-length.: [0-9]+ of training .of the 64 read so far.*9 tokens .--max-length.: 80 of training, 0"
           train --pairs mixed.tsv --valid-pairs pairs.tsv --out streamed --epochs ${epochs} --width 16 --layers 1
           --max-length 9 --shuffle-buffer 64)
endforeach()
# The first buffer may hold only pairs that are too long; so may all.
string(REPEAT "one two three four five six seven eight nine.\td\n" 99 long_pairs)
file(WRITE ${folder}/long_first.tsv "${long_pairs}a b.\tc\n")
succeeds("of training .of the [0-9]+ read so far.*99 of training, 0 of validation" train --pairs long_first.tsv
         --valid-pairs pairs.tsv --out streamed --epochs 2 --schedule cosine --width 16 --layers 1 --max-length 9
         --shuffle-buffer 16)
file(WRITE ${folder}/all_long.tsv "${long_pairs}")
fails_with("all_long.tsv: no training pair has at most 9 tokens" train --pairs all_long.tsv --valid-pairs pairs.tsv
           --out new --epochs 2 --max-length 9 --shuffle-buffer 16)

file(WRITE ${folder}/no_tab.tsv "a\tb\nno tab here\n")
file(WRITE ${folder}/empty.tsv "")
string(ASCII 255 bad_byte)
file(WRITE ${folder}/bad.tsv "a\tb\nc${bad_byte}\td\n")
string(REPEAT "many " 300 long)
file(WRITE ${folder}/long.tsv "${long}\ta\n${long}\tb\n")
file(WRITE ${folder}/three.txt "a\nb\nc\n")
file(WRITE ${folder}/one.txt "a\n")

fails_with("nowhere.tsv" train --pairs nowhere.tsv --out new --updates 1)
fails_with("no_tab.tsv:2" train --pairs no_tab.tsv --out new --updates 1)
fails_with("empty.tsv" train --pairs empty.tsv --out new --updates 1)
fails_with("bad.tsv:2.*UTF-8" train --pairs bad.tsv --out new --updates 1)
fails_with("long.tsv: no training pair has at most 256 tokens" train --pairs long.tsv --out new --updates 1)
file(WRITE ${folder}/two.tsv "a\tb\nc\td\n")
fails_with("two.tsv: has 2 pairs, expected 50" train --pairs two.tsv --out new --updates 1)
fails_with("2.*3|3.*2" train --source source.txt --target three.txt --out new --updates 1)
fails_with("--min-count: is 61, but no token of the source occurs so often" train --pairs pairs.tsv --out new --updates 1
           --min-count 61)
fails_with("--min-count: is 600, but no token of the target occurs so often" train --pairs mixed.tsv
           --valid-pairs pairs.tsv --out new --updates 1 --min-count 600)
# An option with an empty value does not take the next word.
fails_with("--out is required" train --pairs pairs.tsv --out= --updates 1)
fails_with("--updates: is empty, expected a whole number" train --pairs pairs.tsv --out new --updates= 1)
fails_with("--dropout: is empty, expected a number" train --pairs pairs.tsv --out new --updates 1 --dropout=)
succeeds("^\n$" align --model model --source "word1 other1." --target= --view pharaoh)
fails_with("--colour" train --pairs pairs.tsv --out new --colour red)
fails_with("--out" train --pairs pairs.tsv)
fails_with("--pairs" train --out new)
foreach(given IN ITEMS -3 0 inf nan 1e300 5x)
  foreach(option IN ITEMS minutes epochs updates rate dropout label-smoothing width layers heads feed-forward batch-tokens
                         min-count max-length threads)
    if(NOT "${option}${given}" MATCHES "^(dropout|label-smoothing|minutes|epochs|updates)0$") # 0: none
      fails_with("--${option}: is ${given}, expected a " train --pairs pairs.tsv --out new --${option}=${given})
    endif()
  endforeach()
endforeach()
foreach(option IN ITEMS epochs updates width layers heads feed-forward batch-tokens min-count max-length threads)
  foreach(given IN ITEMS 2.5 9223372036854775807 9223372036854775808 99999999999999999999)
    fails_with("--${option}: is ${given}, expected a whole number from [01] to" train --pairs pairs.tsv --out new
               --${option} ${given})
  endforeach()
endforeach()
fails_with("--updates: is 010, expected a whole number from 0 to 1000000000, without leading zeros" train --pairs pairs.tsv
           --out new --updates 010)
foreach(given IN ITEMS -1 18446744073709551616 1.5)
  fails_with("--seed: is ${given}, expected a whole number from 0" train --pairs pairs.tsv --out new --seed=${given})
endforeach()
foreach(option IN ITEMS layer head)
  fails_with("--${option}: is 99999999999, expected" align --model model --source a --target b --${option} 99999999999)
endforeach()
fails_with("--batch-tokens: is 3, expected at least 6" train --pairs pairs.tsv --out new --updates 1 --batch-tokens 3)
file(WRITE ${folder}/unknown.json "{\"widht\": 64}")
fails_with("unknown.json.*widht" train --pairs pairs.tsv --out new --config unknown.json)
# Stored options have the ranges of typed ones, and exclude each other in the same way.
foreach(stored IN ITEMS "dropout|5|--dropout: is 5[.0]*, expected a number from 0 to 0.9"
                        "width|9000|--width: is 9000, expected a whole number from 1 to 8192"
                        "freeze|[\"\"]|--freeze: no parameter matches \"\""
                        "schedule|\"square\"|--schedule: square not in"
                        "source|\"pairs.tsv\"|--source requires --target")
  string(REPLACE "|" ";" stored "${stored}")
  list(POP_FRONT stored name value expected)
  file(WRITE ${folder}/stored.json "{\"${name}\": ${value}}")
  fails_with("${expected}" train --pairs pairs.tsv --out new --updates 1 --config stored.json)
endforeach()
fails_with("--out: invalid UTF-8 at byte 3" train --pairs pairs.tsv --updates 1 --out new${bad_byte})
fails_with("--init and --out: are one folder, shaped/[.], expected two" train --pairs pairs.tsv --updates 1 --init shaped
           --out shaped/.)
fails_with("--log and --pairs: are one file, ./pairs.tsv, expected two" train --pairs pairs.tsv --updates 1 --out new
           --log ./pairs.tsv)
fails_with("--plot and --valid-pairs: are one file" train --pairs pairs.tsv --valid-pairs two.tsv --updates 1 --out new
           --plot two.tsv)
fails_with("--plot and --log: are one file, ./report, expected two" train --pairs pairs.tsv --updates 1 --out new
           --log report --plot ./report)
fails_with("--log and --out: are one file, ./new, expected two" train --pairs pairs.tsv --updates 1 --out new --log ./new)
# Saving would replace these files, or remove them.
foreach(file IN ITEMS config.json ../first/training.json source.spm checkpoints/log.csv checkpoints/best/log.csv)
  fails_with("--log: stored/first/${file} is a file of the model folder of --out, expected another file" train
             --pairs pairs.tsv --updates 1 --out stored/first --log stored/first/${file})
endforeach()
fails_with("--plot: shaped/./config.json is a file of the model folder of --init" train --pairs pairs.tsv --updates 1
           --init shaped --out new --plot shaped/./config.json)
succeeds("best so far, saved" train --pairs pairs.tsv --updates 1 --out stored/first --log stored/first/log.csv)
if(NOT EXISTS ${folder}/stored/first/log.csv)
  message(SEND_ERROR "--log in the model folder was not written")
endif()
succeeds("best so far, saved" train --pairs pairs.tsv --updates 1 --out reported/ --log reported/log.csv
         --plot ./reported/plot.svg)
if(NOT EXISTS ${folder}/reported/log.csv OR NOT EXISTS ${folder}/reported/plot.svg)
  message(SEND_ERROR "--log and --plot in a new model folder were not written")
endif()
fails_with("--log: write_file: nowhere/log.csv: there is no such file or folder" train --pairs pairs.tsv --updates 1
           --out new --log nowhere/log.csv)
file(WRITE ${folder}/preset.json "{\"preset\": \"huge\"}")
fails_with("--width, --heads: the width is 128, expected a multiple of the number of heads, 3" train --pairs pairs.tsv
           --out new --updates 1 --heads 3)
fails_with("--patience: is 20, but without --validate-every" train --pairs pairs.tsv --out new --patience 20)
fails_with("--average-of: needs --average" train --pairs pairs.tsv --out new --average-of best)
# Options that do not fit the kind of model are errors, even with their default value, and in a file of options.
foreach(given IN ITEMS "--cell;gru" "--score;dot" "--encoder;convolution" "--context;initial" "--no-input-feeding")
  list(GET given 0 option)
  string(REPLACE "--no-" "--" option ${option})
  fails_with("${option}: needs --model recurrent" train --pairs pairs.tsv --out new --updates 1 ${given})
endforeach()
foreach(given IN ITEMS "--positions;sinusoidal" "--feed-forward;64" "--post-norm;--preset;base" "--norm-first"
                       "--attention-dropout;0.1" "--embedding-dropout;0" "--activation-dropout;0" "--heads;4"
                       "--checkpoint-activations")
  list(GET given 0 option)
  string(REPLACE "post-norm" "norm-first" option ${option})
  fails_with("${option}: needs --model transformer" train --pairs pairs.tsv --out new --updates 1 --model recurrent ${given})
endforeach()
fails_with("--score: needs --context attention" train --pairs pairs.tsv --out new --updates 1 --model recurrent
           --context initial --score dot)
file(WRITE ${folder}/cell.json "{\"cell\": \"lstm\"}")
fails_with("--cell: needs --model recurrent" train --pairs pairs.tsv --out new --updates 1 --config cell.json)
fails_with("--preset: huge not in" train --pairs pairs.tsv --out new --config preset.json)
fails_with("--precision: is \"float32\", but the run in mixed was begun with \"bfloat16\"" train --out mixed --resume
           --updates 3 --precision float32)
fails_with("needs --updates or --epochs" train --pairs pairs.tsv --out new --minutes 1 --schedule cosine)
# A warm-up must leave room for the rest of a schedule that ends.
foreach(schedule IN ITEMS cosine linear warmup_stable_decay)
  fails_with("--schedule ${schedule}: --updates or --epochs give 1 update, expected 2 or more" train --pairs pairs.tsv
             --out new --updates 1 --schedule ${schedule})
endforeach()
foreach(schedule IN ITEMS cosine linear)
  fails_with("--warmup: is 50, expected at most 49, because --updates or --epochs give 50 updates, and --schedule ${schedule}"
             train --pairs pairs.tsv --out new --updates 50 --warmup 50 --schedule ${schedule})
endforeach()
fails_with("--warmup: is 41, expected at most 40, because .* 50 updates, and .* falls over the last 10" train
           --pairs pairs.tsv --out new --updates 50 --warmup 41 --schedule warmup_stable_decay)
fails_with("train: training diverges: the mean loss of update [0-9]+ is .*; batch: epoch [0-9]+, batch [0-9]+" train
           --pairs pairs.tsv --out diverged --updates 60 --width 128 --layers 1 --rate 1 --warmup 1)
fails_with("--freeze: no parameter matches \"encodr" train --pairs pairs.tsv --out new --updates 1 --freeze encodr.*)
fails_with("nowhere" train --pairs pairs.tsv --out new --updates 1 --init nowhere)
# A model of --init must have the options of the run, also those that change no shape. Dropout is free.
set(init train --pairs pairs.tsv --updates 1 --width 64 --feed-forward 96 --init shaped)
succeeds("best so far, saved" ${init} --out initial --heads 2 --post-norm --dropout 0.3 --max-length 99)
foreach(given IN ITEMS "heads.: 2, but the options of this run give 4;--post-norm"
                       "positions.: .sinusoidal., but the options of this run give .rotary.;--heads;2;--post-norm;--positions;rotary")
  list(POP_FRONT given expected)
  fails_with("--init: shaped has .${expected}" ${init} --out new ${given})
endforeach()
succeeds("saved" train --pairs pairs.tsv --out gated --updates 1 --model recurrent --width 32)
fails_with("--init: gated has .cell.: .gru., but the options of this run give .gru_reset_first." train --pairs pairs.tsv
           --updates 1 --model recurrent --width 32 --init gated --out new --cell gru_reset_first)
fails_with("nowhere/log.csv" train --pairs pairs.tsv --out new --updates 1 --log nowhere/log.csv)
fails_with("has no checkpoint" replay --model nowhere --update 1)
fails_with("huge" train --pairs pairs.tsv --out new --preset huge)
fails_with("" no_such_command)
fails_with("nowhere" run --model nowhere)
fails_with("this model has no attention.*every_step.*influence" align --model recurrent --source a --target b)
foreach(option IN ITEMS layer head)
  fails_with("--${option}: needs --reading attention" align --model model --source a --target b --reading influence
             --${option} 1)
  fails_with("--${option} requires --alignments" evaluate --model model --source source.txt --reference target.txt
             --${option} 1)
  fails_with("--${option} requires --pair" replay --model model --update 1 --${option} 1)
endforeach()
fails_with("--layer: is 2, a recurrent model has one" align --model fed --source a --target b --layer 2)
fails_with("divide into two" train --pairs pairs.tsv --out new --model recurrent --width 33)
fails_with("links.txt.*2 alignments.*1" evaluate --model fed --source one.txt --reference one.txt --alignments links.txt)
fails_with("--layer: is 9, the model has 4 decoder layers" align --model model --source a --target b --layer 9)
fails_with("--head: is 9, the model has 4 heads" evaluate --model model --source source.txt
           --reference target.txt --alignments links.txt --head 9)
fails_with("--layer: is 9, the model has 4 decoder layers" replay --model averaged --update 1 --pair 1 --layer 9)
file(WRITE ${folder}/from_1.txt "1-1\n1-1 3-5\n")
fails_with("from_1.txt:2: the link 3-5 leaves the pair, which has 3 source tokens and 2 target tokens" evaluate
           --model model --source source.txt --reference target.txt --alignments from_1.txt)
fails_with("nowhere.txt" evaluate --model model --source source.txt --reference nowhere.txt)

# --- Lines of the input ---

succeeds("BLEU" train --pairs pairs.tsv --out learnt --updates 250 --width 32 --layers 1 --rate 0.02 --dropout 0)

# Runs the program with a file as standard input: `input_gives(code output errors input ARGUMENTS)`.
function(input_gives code expected_output expected_errors input)
  execute_process(COMMAND ${translate} ${ARGN} WORKING_DIRECTORY ${folder} INPUT_FILE ${folder}/${input}
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE result)
  if(NOT result EQUAL code OR NOT "${output}" STREQUAL "${expected_output}" OR NOT errors MATCHES "${expected_errors}")
    message(SEND_ERROR "translate ${ARGN} < ${input}: expected exit code ${code}, \"${expected_errors}\" and\n"
                       "${expected_output}got ${result} and\n${output}${errors}")
  endif()
endfunction()

set(two "词一它一。\n词二它二。\n")
string(ASCII 239 187 191 mark)
file(WRITE ${folder}/marked.txt "${mark}word1 other1.\r\nword2 other2.")
input_gives(0 "${two}" "^$" marked.txt run --model learnt)
file(WRITE ${folder}/broken.txt "word1 other1.\nword2 other2.\nb${bad_byte}d\nword3 other3.\n")
input_gives(1 "${two}" "^translate: standard input:3: invalid UTF-8 at byte 1\n$" broken.txt run --model learnt)
# A faulty line after the first batch of lines.
string(REPEAT "word1 other1.\n" 279 many_lines)
string(REPEAT "many " 600 too_long)
string(REPEAT "词一它一。\n" 279 many_translated)
file(WRITE ${folder}/late.txt "${many_lines}${too_long}\nword1 other1.\n")
input_gives(1 "${many_translated}" "^translate: standard input:280: the sentence has 600 tokens, the model's limit is 511\n$"
            late.txt run --model learnt)
file(WRITE ${folder}/nothing.txt "")
input_gives(0 "" "^$" nothing.txt run --model learnt)
fails_with("late.txt:280: the sentence has 600" evaluate --model learnt --source late.txt --reference late.txt)
string(REPEAT 词 512 long_target)
file(WRITE ${folder}/long_target.txt "词一\n${long_target}\n")
fails_with("long_target.txt:2: the sentence has 512" evaluate --model learnt --source source.txt
           --reference long_target.txt --alignments links.txt)
foreach(reading IN ITEMS attention influence)
  fails_with("--source: the sentence has 600 tokens, the model's limit is 511" align --model learnt
             --source "${too_long}" --target a --reading ${reading})
  fails_with("--target: the sentence has 512 tokens, the model's limit is 511" align --model learnt --source a
             --target ${long_target} --reading ${reading})
endforeach()

# A line that the model cannot translate, after good lines of the same batch. A later line is in error too.
if(UNIX)
  damage_model(learnt damaged word2)
  string(REPEAT "word1 other1.\n" 600 many_lines)
  string(REPEAT "词一它一。\n" 600 many_translated)
  file(WRITE ${folder}/untranslatable.txt "${many_lines}word2 other1.\nword1 other1.\nb${bad_byte}d\n")
  set(expected "^translate: standard input:601: [^\n]* are not finite\n$")
  input_gives(1 "${many_translated}" "${expected}" untranslatable.txt run --model damaged)
  input_gives(1 "${many_translated}" "${expected}" untranslatable.txt run --model damaged --stream)
  string(REPEAT "\n" 603 prefixes)
  file(WRITE ${folder}/no_prefixes.txt "${prefixes}")
  input_gives(1 "${many_translated}" "${expected}" untranslatable.txt run --model damaged --target-prefix no_prefixes.txt)
  foreach(reading IN ITEMS attention influence)
    fails_with("${reading}: the model gives no finite numbers" align --model damaged --source "word2 other1." --target "词"
               --reading ${reading} --view matrix)
  endforeach()
endif()

# White space at the ends of a reference and between its words does not count.
string(REPLACE "\n" " \t\n" spaced "${two}")
file(WRITE ${folder}/spaced.txt "  ${spaced}")
succeeds("BLEU 100.*exact match 100.00 %" evaluate --model learnt --source source.txt --reference spaced.txt)

# --- Decoding options ---

input_gives(0 "${two}" "^$" source.txt run --model learnt --beam-size 4 --length-penalty 0.6
            --length-penalty-type gnmt --early-stopping heuristic --patience 2 --batch-tokens 1)
succeeds("^0 ... 词一它一。 ... -0\\.[0-9]+\n0 ... [^\n]+\n0 [^\n]+\n1 ... 词二它二。 [^\n]+\n1 [^\n]+\n1 [^\n]+\n$"
         run --model learnt --beam-size 3 --n-best 3)
succeeds("^词一它一。 [|][|][|] -0\\.[0-9]+\n词二它二。 [^\n]+\n$" run --model learnt --scores)
succeeds("^词一它一。 [|][|][|] [0-2]-[0-4] [^\n]+\n词二它二。 [|][|][|] [0-2]-[0-4] [^\n]+\n$" run --model learnt --alignments
         --coverage-penalty 0.1)
succeeds("BLEU 100" evaluate --model learnt --source source.txt --reference target.txt --beam-size 3)
foreach(type float32 bfloat16 int8)
  succeeds("BLEU 100" evaluate --model learnt --source source.txt --reference target.txt --weights ${type})
  input_gives(0 "${two}" "^weights: [0-9.]+ MB packed as ${type}, beside the model's [0-9.]+ MB of float32\n$" source.txt
              run --model learnt --weights ${type})
endforeach()
fails_with("--weights: float16 not in {float32,bfloat16,int8}" run --model learnt --weights float16)
file(WRITE ${folder}/prefixes.txt "词三\n\n")
succeeds("^词三[^\n]*\n词二它二。\n$" run --model learnt --beam-size 2 --target-prefix prefixes.txt)
succeeds("^[^词]+\n[^词]+\n$" run --model learnt --suppress 词 --suppress 它二 --disable-unk)
input_gives(0 "词\n词\n" "^$" source.txt run --model learnt --max-length-a 0 --max-length-b 1)
execute_process(COMMAND ${translate} run --model learnt --min-decoding-length 9 --max-decoding-length 9 --disable-unk
                        --no-repeat-ngram-size 3 --repetition-penalty 1.2
                WORKING_DIRECTORY ${folder} INPUT_FILE ${folder}/source.txt OUTPUT_VARIABLE nine)
string(REGEX MATCH "^[^\n]+" nine "${nine}")
string(LENGTH "${nine}" length)
if(NOT length EQUAL 27) # bytes
  message(SEND_ERROR "run --min-decoding-length 9 --max-decoding-length 9: printed ${nine}")
endif()
# A sample depends on the seed and its line, not on the batch.
set(sample run --model learnt --sampling-topk 0 --sampling-temperature 3)
foreach(run IN ITEMS "a;--seed;3" "b;--seed;3;--batch-tokens;1" "c;--seed;4")
  list(POP_FRONT run name)
  execute_process(COMMAND ${translate} ${sample} ${run} WORKING_DIRECTORY ${folder}
                  INPUT_FILE ${folder}/source.txt OUTPUT_VARIABLE sample_${name})
endforeach()
if(NOT sample_a STREQUAL sample_b OR sample_a STREQUAL sample_c)
  message(SEND_ERROR "samples of seeds 3, 3 and 4:\n${sample_a}${sample_b}${sample_c}")
endif()
succeeds("^-0\\.[0-9]+\n-0\\.[0-9]+\n$" score --model learnt --source source.txt --target target.txt)
succeeds("^-0\\.[0-9]+\t词 -0\\.[0-9]+\t一 [^\t]+\t它 [^\t]+\t一 [^\t]+\t。 [^\t]+\t</s> -0\\.[0-9]+\n"
         score --model learnt --source source.txt --target target.txt --tokens --batch-tokens 3)
fails_with("nothing.txt: has no lines" score --model learnt --source nothing.txt --target nothing.txt)
foreach(option IN ITEMS beam-size patience n-best sampling-topp batch-tokens max-decoding-length)
  fails_with("--${option}: is 0, expected a " run --model learnt --${option} 0)
endforeach()
fails_with("--early-stopping.*soon" run --model learnt --early-stopping soon)
fails_with("--n-best: is 3, expected at most 1 with --beam-size 1" run --model learnt --n-best 3)
fails_with("--sampling-topk: is 5, so --beam-size must be 1, but is 2" run --model learnt --beam-size 2 --sampling-topk 5)
fails_with("--sampling-topp: is 0.5, but --sampling-topk is 1, which draws nothing; set --sampling-topk to 0" run
           --model learnt --sampling-topp 0.5)
fails_with("--sampling-temperature: is 2, but --sampling-topk is 1, which draws nothing; set --sampling-topk to 0" evaluate
           --model learnt --source source.txt --reference target.txt --sampling-temperature 2)
input_gives(0 "${two}" "^$" source.txt run --model learnt --sampling-temperature 0)
input_gives(0 "${two}" "^$" source.txt run --model learnt --sampling-topk 0 --sampling-topp 0.01)
fails_with("--min-decoding-length: is 5, expected at most 4" run --model learnt --min-decoding-length 5
           --max-decoding-length 4)
fails_with("--min-decoding-length: is 600, expected at most 512, which is .* the model's limit" run --model learnt
           --min-decoding-length 600)
# Several end tokens.
input_gives(0 "词一\n词二\n" "^$" source.txt run --model learnt --end-token 它 --end-token 。)
input_gives(0 "词\n词\n" "^$" source.txt run --model learnt --end-token 一 --end-token 二 --beam-size 1)
succeeds("^词一它一。 [|][|][|] -0" run --model learnt --scores)
input_gives(0 "${output}" "^$" source.txt run --model learnt --scores --end-token "</s>")
input_gives(0 "词一\n词二\n" "^$" source.txt run --model learnt --end-token 它 --end-token "</s>")
fails_with("--end-token: .它词. is not one of the model's target tokens" run --model learnt --end-token 它词)
# --stream prints the same text: with scores, for samples and after a prefix.
input_gives(0 "${two}" "^$" source.txt run --model learnt --stream)
succeeds("^词一它一。 [|][|][|] -0\\.[0-9]+\n词二它二。 [^\n]+\n$" run --model learnt --stream --scores)
succeeds("^词三[^\n]*\n词二它二。\n$" run --model learnt --stream --target-prefix prefixes.txt)
string(REGEX MATCH "^[^\n]+" first_prefixed "${output}")
input_gives(0 "${sample_a}" "^$" source.txt run --model learnt --sampling-topk 0 --sampling-temperature 3 --seed 3 --stream)
fails_with("--stream: needs --beam-size 1 and --n-best 1, which are 3 and 2" run --model learnt --stream --beam-size 3
           --n-best 2)
fails_with("--suppress: the model does not know .x." run --model learnt --suppress xyz)
# Punctuation is a token with a joiner mark. A list of all tokens has one without suppression.
file(WRITE ${folder}/marked.tsv "a\t\"b.\na\t\"b.\n")
succeeds("saved" train --pairs marked.tsv --valid-pairs marked.tsv --out marked --updates 1 --width 16 --layers 1 --heads 1)
set(all_tokens run --model marked --n-best 5 --beam-size 5 --max-decoding-length 1)
succeeds("[|] [.] [|].*[|] \" [|]|[|] \" [|].*[|] [.] [|]" ${all_tokens})
succeeds("[|]" ${all_tokens} --suppress . --suppress "\"")
if(output MATCHES "[|] [.\"] [|]")
  message(SEND_ERROR "--suppress left punctuation in\n${output}")
endif()
file(WRITE ${folder}/unknown_prefix.txt "词三\n词x\n")
input_gives(1 "${first_prefixed}\n" "^translate: unknown_prefix.txt:2: the model does not know \"x\"\n$" source.txt
            run --model learnt --target-prefix unknown_prefix.txt)
file(WRITE ${folder}/one_prefix.txt "词\n")
input_gives(1 "词一它一。\n" "^translate: one_prefix.txt: has 1 lines, fewer than the input\n$" source.txt
            run --model learnt --target-prefix one_prefix.txt)
file(WRITE ${folder}/three_prefixes.txt "词\n\n词\n")
input_gives(1 "${two}" "^translate: three_prefixes.txt: has more lines than the input, which has 2\n$" source.txt
            run --model learnt --target-prefix three_prefixes.txt)
fails_with("no_prefix.txt: cannot be opened: there is no such file" run --model learnt --target-prefix no_prefix.txt)
fails_with("2.*3|3.*2" score --model learnt --source source.txt --target three.txt)
fails_with("late.txt:280: the sentence has 600" score --model learnt --source late.txt --target late.txt)

if(UNIX)
  find_program(shell sh)
  execute_process(COMMAND ${shell} -c "\"${translate}\" run --model learnt < ." WORKING_DIRECTORY ${folder}
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE result)
  if(NOT result EQUAL 1 OR NOT "${output}${errors}" MATCHES "^translate: standard input:1: cannot be read")
    message(SEND_ERROR "A folder as input: got ${result} and\n${output}${errors}")
  endif()
  # Too little memory for the threads. Skipped with sanitizers, which need more memory themselves.
  execute_process(COMMAND ${shell} -c "ulimit -v 400000; \"${translate}\" --help" RESULT_VARIABLE result
                  OUTPUT_QUIET ERROR_QUIET)
  if(result EQUAL 0)
    execute_process(COMMAND ${shell} -c "ulimit -v 400000; \"${translate}\" run --model learnt --threads 1024 < one.txt"
                    WORKING_DIRECTORY ${folder} OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE result)
    if(NOT result EQUAL 1 OR NOT "${output}${errors}" MATCHES "^translate: ThreadPool: the system started [0-9]+ threads")
      message(SEND_ERROR "Too many threads: got ${result} and\n${output}${errors}")
    endif()
  else()
    message(STATUS "Skipped: a program with too little memory for its threads (this shell cannot limit it)")
  endif()
endif()

# --- Damaged model folders ---

file(READ ${folder}/model/config.json config)
foreach(change IN ITEMS "num_decoder_layers;[0-9]+;2147483648;no tensor" "num_encoder_layers;[0-9]+;5;no tensor"
                        "num_encoder_layers;[0-9]+;0;is not one of" "width;[0-9]+;2147483647;source_embedding.weight"
                        "heads;[0-9]+;0;self_attn.q.weight" "dim_feedforward;[0-9]+;-1;from 0 to" "max_length;[0-9]+;0;1 or more")
  list(GET change 0 option)
  list(GET change 1 old)
  list(GET change 2 new)
  list(GET change 3 expected)
  string(REGEX REPLACE "\"${option}\": ${old}" "\"${option}\": ${new}" changed "${config}")
  file(WRITE ${folder}/model/config.json "${changed}")
  fails_with("${expected}" run --model model)
endforeach()
file(WRITE ${folder}/model/config.json "{\"model_type\": \"other\"}")
fails_with("config.json.*other" run --model model)
file(WRITE ${folder}/model/config.json "${config}")
file(WRITE ${folder}/model/model.safetensors "truncated")
fails_with("model.safetensors" run --model model)
