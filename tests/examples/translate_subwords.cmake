# Tests subwords in the translation program:
# `cmake -D translate=PROGRAM -D folder=SCRATCH -D with_sentencepiece=BOOL -P translate_subwords.cmake`.
include(${CMAKE_CURRENT_LIST_DIR}/translate_calls.cmake)
set(silent TRUE) # SentencePiece must not print

write_pairs(pairs.tsv reading houses)
# In marked.tsv, words are split by subword-nmt's marks. A translation has eight pieces, but four words.
set(marked "")
foreach(i RANGE 1 60)
  math(EXPR a "${i} % 7")
  math(EXPR b "${i} % 5")
  string(APPEND marked "read@@ ing@@ ${a} hous@@ es@@ ${b} of the ci@@ ty\tles@@ en@@ ${a} haus@@ ${b} der st@@ adt\n")
endforeach()
file(WRITE ${folder}/marked.tsv "${marked}")
file(WRITE ${folder}/source.txt "reading1 houses1.\nreading2 houses2.\n")
file(WRITE ${folder}/target.txt "词一它一。\n词二它二。\n")
file(WRITE ${folder}/marked_source.txt "read@@ ing@@ 1 hous@@ es@@ 1 of the ci@@ ty\n")
file(WRITE ${folder}/marked_target.txt "les@@ en@@ 1 haus@@ 1 der st@@ adt\n")
file(WRITE ${folder}/joined_target.txt "lesen1 haus1 der stadt\n")

set(small --width 32 --layers 1 --rate 0.02 --dropout 0)

# --- Marks of subword-nmt: words are joined in the output, and BLEU counts words ---

succeeds("source: bpe_marks.*target: bpe_marks.*BLEU 100.00 [^\n]*saved" train --pairs marked.tsv --out marked --updates 250
         --min-count 1 ${small})
foreach(reference IN ITEMS marked_target joined_target)
  succeeds("BLEU 100.*chrF 100.*exact match 100.00 %" evaluate --model marked --source marked_source.txt
           --reference ${reference}.txt)
endforeach()
execute_process(COMMAND ${translate} run --model marked WORKING_DIRECTORY ${folder}
                INPUT_FILE ${folder}/marked_source.txt OUTPUT_VARIABLE output)
execute_process(COMMAND ${translate} run --model marked --stream WORKING_DIRECTORY ${folder}
                INPUT_FILE ${folder}/marked_source.txt OUTPUT_VARIABLE streamed)
if(NOT output STREQUAL "lesen1 haus1 der stadt\n" OR NOT streamed STREQUAL output)
  message(SEND_ERROR "translate run --model marked: printed\n${output}")
endif()
succeeds("source: words" train --pairs marked.tsv --source-tokens words --out mixed --updates 1)

# One vocabulary and one embedding for both languages.
succeeds("saved" train --pairs marked.tsv --out shared --joint-vocabulary --min-count 1 --updates 3 ${small})
file(SHA256 ${folder}/shared/source_vocabulary.txt first)
file(SHA256 ${folder}/shared/target_vocabulary.txt second)
file(READ ${folder}/shared/source_vocabulary.txt tokens)
file(READ ${folder}/shared/config.json config)
if(NOT first STREQUAL second OR NOT tokens MATCHES "les@@" OR NOT tokens MATCHES "read" OR
   NOT config MATCHES "\"share_embeddings\": true")
  message(SEND_ERROR "--joint-vocabulary: the languages share no vocabulary or embedding")
endif()

# --- Options ---

fails_with("--subword-sampling: needs subwords|without SentencePiece" train --pairs pairs.tsv --out no --subword-sampling 0.1)
fails_with("--bpe-dropout: needs subwords|without SentencePiece" train --pairs pairs.tsv --out no --bpe-dropout 0.1)
fails_with("--joint-vocabulary: needs one subword model|without SentencePiece" train --pairs pairs.tsv --out no
           --joint-vocabulary --source-subwords 40)
fails_with("--subwords: is 3, expected a whole number from 4" train --pairs pairs.tsv --out no --subwords 3)
fails_with("--bpe-dropout: is 2, expected a number from 0 to 1" train --pairs pairs.tsv --out no --bpe-dropout 2)
fails_with("excludes" train --pairs pairs.tsv --out no --subwords 40 --tokens words)
fails_with("excludes" train --pairs pairs.tsv --out no --source-subwords 40 --source-tokens words)

# --- SentencePiece ---

if(NOT with_sentencepiece)
  foreach(option IN ITEMS "--subwords;40" "--source-subwords;40" "--subword-model;a.spm" "--target-subword-model;a.spm")
    list(GET option 0 name)
    fails_with("translate: ${name}: this program was built without SentencePiece; install it" train --pairs pairs.tsv
               --out no ${option})
  endforeach()
  file(READ ${folder}/marked/config.json config)
  string(REPLACE "\"source_tokens\": \"bpe_marks\"" "\"source_tokens\": \"subwords\"" config "${config}")
  file(WRITE ${folder}/marked/config.json "${config}")
  file(WRITE ${folder}/marked/source.spm "a model")
  fails_with("source.spm: this program was built without SentencePiece; install it" run --model marked)
  message(STATUS "skipped: the program was built without SentencePiece")
  return()
endif()

# One language with subwords, the other in characters.
succeeds("source: unigram subwords.*target: characters.*BLEU 100.00 .char.[^\n]*saved" train --pairs pairs.tsv
         --out one --source-subwords 40 --updates 250 ${small})
succeeds("^词一它一。\n词二它二。\n$" run --model one)
succeeds("^词一它一。\n词二它二。\n$" run --model one --stream)
succeeds("BLEU 100.*exact match 100.00 %" evaluate --model one --source source.txt --reference target.txt)
succeeds("▁" align --model one --source "reading1 houses1." --target "词一它一。" --view matrix)
file(WRITE ${folder}/links.txt "0-0\n0-0\n")
fails_with("--alignments: links are between words" evaluate --model one --source source.txt --reference target.txt
           --alignments links.txt)
if(NOT EXISTS ${folder}/one/source.spm OR EXISTS ${folder}/one/target.spm)
  message(SEND_ERROR "the folder of a model with source subwords alone needs source.spm alone")
endif()

# Subwords for both languages: BLEU of Chinese counts characters all the same. Random splits repeat.
set(sampled train --pairs pairs.tsv --subwords 60 --subword-type bpe --bpe-dropout 0.1 --updates 30 --threads 1 ${small})
succeeds("source: bpe subwords.*target: bpe subwords.*BLEU [0-9.]+ .char. [^\n]*saved" ${sampled} --out first)
succeeds("saved" ${sampled} --out second)
foreach(file IN ITEMS config.json model.safetensors source.spm target.spm source_vocabulary.txt)
  file(SHA256 ${folder}/first/${file} first)
  file(SHA256 ${folder}/second/${file} second)
  if(NOT first STREQUAL second)
    message(SEND_ERROR "two runs with random splits by one seed wrote different files ${file}")
  endif()
endforeach()
foreach(threads IN ITEMS 1 2)  # splits of a streamed corpus do not depend on the number of threads
  succeeds("saved" train --pairs pairs.tsv --subword-model first/source.spm --bpe-dropout 0.1 --updates 12 ${small}
           --shuffle-buffer 20 --out streamed${threads} --threads ${threads})
  file(SHA256 ${folder}/streamed${threads}/model.safetensors streamed${threads})
endforeach()
if(NOT streamed1 STREQUAL streamed2)
  message(SEND_ERROR "random splits of a streamed corpus depend on the number of threads")
endif()
succeeds("saved" train --pairs pairs.tsv --out plain --subwords 60 --subword-type bpe --updates 30 --threads 1 ${small})
file(SHA256 ${folder}/plain/model.safetensors plain)
file(SHA256 ${folder}/first/model.safetensors first)
if(plain STREQUAL first)
  message(SEND_ERROR "--bpe-dropout changed nothing")
endif()
fails_with("--subword-sampling: needs a unigram model" train --pairs pairs.tsv --out no --subwords 60 --subword-type bpe
           --subword-sampling 0.1)
fails_with("Vocabulary size is smaller than required_chars" train --pairs pairs.tsv --out no --subwords 8)

# One model, vocabulary and embedding for both; an existing model; a recurrent model.
succeeds("saved" train --pairs pairs.tsv --out joint --subwords 80 --joint-vocabulary --subword-sampling 0.2
         --subword-n-best 8 --updates 10 ${small})
file(SHA256 ${folder}/joint/source_vocabulary.txt first)
file(SHA256 ${folder}/joint/target_vocabulary.txt second)
file(READ ${folder}/joint/config.json config)
if(NOT first STREQUAL second OR NOT config MATCHES "\"share_embeddings\": true")
  message(SEND_ERROR "--joint-vocabulary: the languages share no vocabulary or embedding")
endif()
succeeds("saved" train --pairs pairs.tsv --out again --subword-model joint/source.spm --joint-vocabulary --model recurrent
         --updates 3 --width 32)
succeeds("\n.*\n" run --model again)
file(SHA256 ${folder}/again/target.spm again)
file(SHA256 ${folder}/joint/source.spm joint)
if(NOT again STREQUAL joint)
  message(SEND_ERROR "--subword-model: the folder holds another model")
endif()
# A model with a piece that a line of a vocabulary's file cannot hold, in the format of Protocol Buffers.
string(ASCII 10 9 10 5 60 117 110 107 62 24 2 unknown) # "<unk>"
string(ASCII 10 7 10 3 60 115 62 24 3 begin)           # "<s>"
string(ASCII 10 8 10 4 60 47 115 62 24 3 end)          # "</s>"
string(ASCII 10 5 10 3 97 10 98 broken)                # "a", line feed, "b"
string(ASCII 18 2 24 1 training)                       # type unigram
string(ASCII 26 2 24 1 normalisation)                  # adds a dummy prefix
file(WRITE ${folder}/broken.spm "${unknown}${begin}${end}${broken}${training}${normalisation}")
fails_with("broken.spm: the token .a.nb. has a line break" train --pairs pairs.tsv --out no --subword-model broken.spm
           --updates 1)
# A model that spells text with subwords of bytes, such as the line break <0x0A>. A translation is one line all the same.
set(bytes "")
string(ASCII 10 10 10 6 begin_byte)
string(ASCII 24 6 end_byte)
foreach(byte RANGE 255)
  math(EXPR high "${byte} / 16")
  math(EXPR low "${byte} % 16")
  string(SUBSTRING "0123456789ABCDEF" ${high} 1 high)
  string(SUBSTRING "0123456789ABCDEF" ${low} 1 low)
  string(APPEND bytes "${begin_byte}<0x${high}${low}>${end_byte}")
endforeach()
string(ASCII 10 3 10 1 97 letter)        # "a"; SentencePiece wants a piece of text
string(ASCII 18 5 24 1 152 2 1 training) # type unigram, byte_fallback
file(WRITE ${folder}/bytes.spm "${unknown}${begin}${end}${letter}${bytes}${training}${normalisation}")
succeeds("saved" train --pairs pairs.tsv --out bytes --target-subword-model bytes.spm --updates 1 ${small})
foreach(options IN ITEMS "16;--n-best;8" "2;--stream")
  list(POP_FRONT options lines)
  string(REPEAT "\n" ${lines} expected)
  execute_process(COMMAND ${translate} run --model bytes --sampling-topk 0 --min-decoding-length 500 --max-length-a 0
                          --max-length-b 0 ${options}
                  COMMAND tr -cd "\\n\\r" WORKING_DIRECTORY ${folder} INPUT_FILE ${folder}/source.txt
                  OUTPUT_VARIABLE breaks)
  if(NOT breaks STREQUAL expected)
    string(HEX "${breaks}" breaks)
    message(SEND_ERROR "run --model bytes ${options}: expected ${lines} line feeds, printed the line breaks ${breaks}")
  endif()
endforeach()
fails_with("--batch-tokens: is 64, expected more than --max-length, 256, because subwords are split at random" train
           --pairs pairs.tsv --out no --subword-model first/source.spm --bpe-dropout 0.1 --batch-tokens 64 --updates 1)
fails_with("nowhere.spm" train --pairs pairs.tsv --out no --subword-model nowhere.spm)
fails_with("pairs.tsv: is no SentencePiece model" train --pairs pairs.tsv --out no --source-subword-model pairs.tsv)
file(WRITE ${folder}/joint/source.spm "damaged")
fails_with("joint/source.spm: is no SentencePiece model" run --model joint)
file(REMOVE ${folder}/joint/source.spm)
fails_with("joint/source.spm: there is no such file" run --model joint)
if(EXISTS ${folder}/no)
  message(SEND_ERROR "a training that failed left a model behind")
endif()
