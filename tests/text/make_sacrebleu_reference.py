#!/usr/bin/env python3
"""Writes sacrebleu_reference.hpp beside itself: small corpora and what sacreBLEU 2 says of them.

    pip install sacrebleu && python3 tests/text/make_sacrebleu_reference.py
"""
import pathlib

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

# name: pairs of hypothesis and reference
CORPORA = {
    "english": [
        ("The cat is sitting on the mat.", "The cat sat on the mat."),
        ("He didn't say that he's coming, did he?", "He did not say he was coming, did he?"),
        ("\"Where,\" she asked, \"is the station?\"", "\"Where is the station?\" she asked."),
        ("We walked home in the rain because the last bus had left.",
         "We walked home in the rain, because the last bus had already left."),
    ],
    "german": [
        ("Die Ärzte prüfen die Größe der Straße.", "Die Ärzte messen die Größe der Straßen."),
        ("ALLE ÜBUNGEN SIND ÖFFENTLICH.", "Alle Übungen sind öffentlich."),
        ("Der Fluss ist tief, aber schmal – und kalt.", "Der Fluss ist schmal, aber tief – und sehr kalt."),
        ("STRAẞE und Straße", "Straße und STRASSE"),
    ],
    "chinese": [
        ("我们明天一起去公园吧。", "明天我们一起去公园。"),
        ("他每天早上 六点起床，然后喝茶。", "他每天 6 点起床，然后喝一杯茶。"),
        ("这本书很好看！", "这本书非常有趣！"),
    ],
    "numbers": [
        ("It cost 1,000.5 dollars in 1999-2001, about 3.14%.", "It cost $1,000.5 in 1999-2001, about 3.14 %."),
        ("An x-y plot of -5, +3.0, .5 and 7. shows a,b,c.", "An x-y plot of -5 , +3 , 0.5 and 7 shows a, b, c."),
        ("See [1] (p. 12-14); e.g. A/B, C:D = {x^2_i} ~ 'q' `r` \\n @home #1 *2 <a>|<b>?!...",
         "See [1], (pp. 12-14): e.g. A/B , C:D={x^2_i} ~ 'q' `r` \\n @ home #1 * 2 <a> | <b>?! ..."),
        ("Version 2.0.1, 10:30h, U.S. and 5-, 6--7, 1.,2", "Version 2.0.1 , 10:30 h , U.S.A. and 5- , 6-7 , 1. , 2"),
    ],
    "entities": [
        ("&quot;Tom &amp; Jerry&quot; &lt;b&gt; &amp;lt;", "\"Tom & Jerry\" <b> &lt;"),
        ("A <skipped>segment and a half-\nline\nhere -\n", "A segment and a halfline here -"),
        ("five &lt six &apos;s &AMP; Q&A", "five < six 's & Q&A"),
    ],
    "empty hypotheses": [
        ("", "Nothing was said here today."),
        ("   ", "Still nothing."),
        ("At last somebody says something.", "At last someone says something ."),
    ],
    "all empty": [("", "Nothing at all."), ("\u3000", "Nothing.")],
    "empty reference": [("Something was said.", ""), ("And then it was quiet.", "And then it was quiet.")],
    "nothing right": [("alpha beta gamma delta epsilon", "one two three four five six")],
    "no four-grams right": [
        ("the dog and the bird ran away quickly", "the dog but a bird ran off quickly"),
        ("green ideas sleep here", "here sleep green ideas"),
    ],
    "short": [("Yes.", "Yes, I would like to."), ("No way", "No way at all, my friend."), ("a b c d", "a b c d e f g h")],
    "three words": [("one two three", "one two three"), ("four five", "four five")],
    "equal": [("It is the same sentence.", "It is the same sentence."), ("And so is this one!", "And so is this one!")],
    "long hypotheses": [
        ("the the the the the the the", "the cat is on the mat"),
        ("it is what it is what it is what it is", "it is what it is"),
    ],
    "odd white space": [
        ("\u00a0a\u3000b\u2003c\td\u2028e\u0085f\u001cg\u200bh ", "a b c d e f g h"),
        ("one\u202ftwo  three\r\nfour", "one two\tthree four five"),
        ("\ufeffbegins here", "begins\u205fhere \u1680 now"),
    ],
    "odd characters": [
        ("naïve café cafe\u0301 😀👍🏽", "naive café café 😀 👍"),
        ("İstanbul ılık ǅ K ΩΜΈΓΑ", "istanbul ilık ǆ k ωμέγα"),
        ("ПРИВЕТ, мир!", "Привет , МИР !"),
        ("“quoted”… and·so—on.", "“quoted” ... and so — on。"),
        ("(hi) 'tis (a) !! ¿qué? _x_", "(hi ) ' tis ( a ) ! ¿ qué ? x"),
    ],
}


def literal(text):
    """A C++ string of ASCII alone, whatever the compiler takes source files to be."""
    parts = []
    for byte in text.encode("utf-8"):
        if byte in b'"\\':
            parts.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F:
            parts.append(chr(byte))
        else:
            parts.append(f"\\{byte:03o}")  # octal stops after three digits
    return '"' + "".join(parts) + '"'


def strings(texts):
    return "{" + ",\n        ".join(literal(text) for text in texts) + "}"


def signature(metric):
    return str(metric.get_signature()).rsplit("version:", 1)[0]


def main():
    lines = [
        f"// Written by make_sacrebleu_reference.py with sacreBLEU {sacrebleu.__version__}.",
        "// clang-format off",
        "#pragma once",
        "",
        "#include <array>",
        "#include <string>",
        "#include <vector>",
        "",
        "namespace eigenformer::testing {",
        "",
        "struct ScoredCorpus {",
        "  std::string name;",
        "  std::vector<std::string> hypotheses;",
        "  std::vector<std::string> references;",
        "};",
        "",
        "/// `signature` ends before the version; `corpus` counts from 0.",
        "struct BleuReference {",
        "  std::size_t corpus;",
        "  std::string signature;",
        "  double score;",
        "  std::array<double, 4> precisions;",
        "  double brevity_penalty;",
        "  long hypothesis_length;",
        "  long reference_length;",
        "};",
        "",
        "struct ChrfReference {",
        "  std::size_t corpus;",
        "  std::string signature;",
        "  double score;",
        "};",
        "",
        "inline std::vector<ScoredCorpus> scored_corpora() {",
        "  return {",
    ]
    for name, pairs in CORPORA.items():
        hypotheses, references = zip(*pairs)
        lines.append(f"      {{{literal(name)},")
        lines.append(f"       {strings(hypotheses)},")
        lines.append(f"       {strings(references)}}},")
    lines += ["  };", "}", "", "inline std::vector<BleuReference> bleu_references() {", "  return {"]
    for number, pairs in enumerate(CORPORA.values()):
        hypotheses, references = map(list, zip(*pairs))
        for tokenizer in ("none", "13a", "char"):
            for lowercase in (False, True):
                metric = BLEU(tokenize=tokenizer, lowercase=lowercase)
                score = metric.corpus_score(hypotheses, [references])
                precisions = ", ".join(map(repr, score.precisions))
                lines.append(
                    f"      {{{number}, {literal(signature(metric))}, {score.score!r}, {{{precisions}}}, {score.bp!r}, "
                    f"{score.sys_len}, {score.ref_len}}},")
    lines += ["  };", "}", "", "inline std::vector<ChrfReference> chrf_references() {", "  return {"]
    for number, pairs in enumerate(CORPORA.values()):
        hypotheses, references = map(list, zip(*pairs))
        for word_order in (0, 1, 2):
            for lowercase in (False, True):
                metric = CHRF(word_order=word_order, lowercase=lowercase)
                score = metric.corpus_score(hypotheses, [references])
                lines.append(f"      {{{number}, {literal(signature(metric))}, {score.score!r}}},")
    lines += ["  };", "}", "", "}  // namespace eigenformer::testing", ""]
    pathlib.Path(__file__).with_name("sacrebleu_reference.hpp").write_text("\n".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
