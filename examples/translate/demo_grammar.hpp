// The grammar of the demo corpus: rules in both languages, each with its own word order (a synchronous grammar: Lewis
// and Stearns 1968). A slot is named after one of the phrases that may fill it, so the rules read like sentences.
//
// The slots of one sentence agree:
//   {she}                         the subject, for example "i" or "the boys"; {is}, {has}, {plays} and the endings {s},
//                                 {es} and {ies} agree with it, and {her} is its possessive
//   {him}, {they}                 persons other than {she}
//   {play}, {playing}, {played}   forms of one activity; {at school} is a place for it
//   {car}, {key}, {cat}, ...      one noun each, in all its forms: {cars}, {a new car}, {three cars}, {this car}
//   {new}, {big}, {red}, ...      an adjective after "is" that fits its noun: {new} fits {car}, {big} fits {house} and
//                                 {tower}, {red} fits {coat}, {delicious} fits {cake}, {tall} fits {teacher}
#pragma once

#include <string_view>

namespace translate {

struct Rule {
  int sentences;  // how many to draw
  std::string_view english, chinese;
};

inline constexpr Rule statements[] = {
    // Habits. In Chinese, time and place precede the verb.
    {180, "{she} {plays} {every day}", "{she} {every day} {play}"},
    {180, "{she} {often} {plays} {at school}", "{she} {often} {at school} {play}"},
    {150, "{she} never {plays} {at school}", "{she} 从来 不 {at school} {play}"},
    {150, "{she} {often} {plays} with {him}", "{she} {often} 和 {him} 一起 {play}"},
    {60, "{she} do{es} not {play} {at school}", "{she} 不 {at school} {play}"},

    // The progressive: 正在, or 正 before the 在 of a place.
    {80, "{she} {is} {playing}", "{she} 正在 {play}"},
    {80, "{she} {is} {playing} {at school}", "{she} 正 {at school} {play}"},

    // Past and future. Chinese verbs have no tenses: 了, 没 and 会 mark them.
    {180, "{she} {played} {yesterday}", "{she} {yesterday} {play} 了"},
    {160, "{she} {played} {at school} {yesterday}", "{she} {yesterday} {at school} {play} 了"},
    {60, "{she} did not {play} {yesterday}", "{she} {yesterday} 没 {play}"},
    {80, "{she} will {play} {at school} {tomorrow}", "{she} {tomorrow} 会 {at school} {play}"},
    {60, "{she} will not {play} {tomorrow}", "{she} {tomorrow} 不 会 {play}"},
    {50, "let us {play} {tomorrow}", "我们 {tomorrow} {play} 吧"},
    {40, "please do not {play} {at school}", "请 不要 {at school} {play}"},

    // Abilities, wishes and preferences.
    {60, "{she} can {sing}", "{she} 会 {sing}"},
    {50, "{she} cannot {sing}", "{she} 不 会 {sing}"},
    {50, "{she} want{s} to {play} {tomorrow}", "{she} {tomorrow} 想 {play}"},
    {40, "{she} do{es} not want to {play} {at school}", "{she} 不 想 {at school} {play}"},
    {60, "{she} like{s} {playing}", "{she} 喜欢 {play}"},

    // Having, buying and giving. A measure word stands between number and noun.
    {130, "{she} {has} {three cars}", "{she} 有 {three cars}"},
    {60, "{she} do{es} not have {a car}", "{she} 没有 {car}"},
    {60, "{she} {has} {three horses}", "{she} 有 {three horses}"},
    {60, "{she} saw {three horses} in {paris} {yesterday}", "{she} {yesterday} 在 {paris} 看见 了 {three horses}"},
    {60, "{she} like{s} {these horses}", "{she} 喜欢 {these horses}"},
    {80, "{she} do{es} not like {these cars}", "{she} 不 喜欢 {these cars}"},
    {100, "{she} bought {a new car} {yesterday}", "{she} {yesterday} 买 了 {a new car}"},
    {60, "{she} did not buy {these cars} {yesterday}", "{she} {yesterday} 没 买 {these cars}"},
    {140, "{she} want{s} to buy {three cars}", "{she} 想 买 {three cars}"},
    {60, "{she} need{s} {a new car}", "{she} 需要 {a new car}"},
    {60, "{she} gave {him} {a new car} {yesterday}", "{she} {yesterday} 给 了 {him} {a new car}"},
    {80, "{she} bought {him} {a new car} {yesterday}", "{she} {yesterday} 给 {him} 买 了 {a new car}"},
    {60, "{she} lost {her} {key} {yesterday}", "{she} {yesterday} 丢 了 {her} {key}"},
    {60, "{she} found {her} {key} {on the table}", "{she} 在 {on the table} 找到 了 {her} {key}"},
    {80, "{she} {is} wearing {a red coat}", "{she} {wearing} {a red coat}"},
    {60, "{she} will wear {a red coat} {tomorrow}", "{she} {tomorrow} 会 {wear} {a red coat}"},
    {80, "{she} wrote {a famous poem} {yesterday}", "{she} {yesterday} 写 了 {a famous poem}"},

    // Food and drink. "delicious" is 好吃 or 好喝.
    {100, "{she} {ate} {three cakes} {yesterday}", "{she} {yesterday} {ate} {three cakes}"},
    {80, "{she} want{s} to {eat} {a delicious cake}", "{she} 想 {eat} {a delicious cake}"},
    {60, "{she} think{s} that {this cake} is delicious", "{she} 觉得 {this cake} 很 {delicious}"},
    {60, "please give {me} {three cakes}", "请 给 {me} {three cakes}"},

    // Locations. In Chinese "there is", the place comes first.
    {60, "there is {a small cat} {on the table}", "{on the table} 有 {a small cat}"},
    {60, "there are {three cats} {on the table}", "{on the table} 有 {three cats}"},
    {60, "there is {a key} {on the table}", "{on the table} 有 {a key}"},
    {80, "there are {three keys} {on the table}", "{on the table} 有 {three keys}"},
    {60, "there are no {keys} {on the table}", "{on the table} 没有 {key}"},
    {80, "{my} {key} is {on the table}", "{my} {key} 在 {on the table}"},
    {60, "the {key} is not {on the table}", "{key} 不 在 {on the table}"},
    {40, "the {cat} is sleeping {on the table}", "{cat} 正 在 {on the table} 睡觉"},

    // Qualities and comparisons.
    {60, "{this house} is very {big}", "{this house} 非常 {big}"},
    {60, "{this house} is too {big}", "{this house} 太 {big} 了"},
    {60, "{this house} is not {big}", "{this house} 不 {big}"},
    {60, "{my} {coat} is {red}", "{my} {coat} 是 {red}"},
    {240, "{this house} is {bigger} than {that tower}", "{this house} 比 {that tower} {big}"},
    {80, "{this house} is as {big} as {that tower}", "{this house} 和 {that tower} 一样 {big}"},
    {100, "{he} is {taller} than the {teacher}", "{he} 比 {teacher} {tall}"},
    {60, "{she} think{s} that {this house} is {big}", "{she} 觉得 {this house} 很 {big}"},

    // Clauses. A Chinese relative clause precedes its noun, with 的.
    {80, "the {car} that {she} bought {yesterday} is very {new}", "{she} {yesterday} 买 的 {car} 非常 {new}"},
    {60, "{she} like{s} the {car} that {they} bought", "{she} 喜欢 {they} 买 的 {car}"},
    {60, "{she} know{s} the {teacher} who is {playing}", "{she} 认识 正在 {play} 的 {teacher}"},
    {80, "the {teacher} who {played} {at school} is {my} friend", "{at school} {play} 的 {teacher} 是 {my} 朋友"},
    {60, "if it is {cold} tomorrow {she} will not {play}", "如果 明天 很 {cold} {she} 就 不 会 {play}"},
    {60, "{she} did not {play} because it was too {cold}", "因为 太 {cold} 了 所以 {she} 没 {play}"},
    {90, "{she} {is} {happy} because {they} bought {a car}", "因为 {they} 买 了 {a car} 所以 {she} 很 {happy}"},

    // People.
    {60, "{he} is {a young teacher}", "{he} 是 {a young teacher}"},
    {40, "{he} is not {a teacher}", "{he} 不 是 {teacher}"},
    {60, "{she} know{s} {three teachers}", "{she} 认识 {three teachers}"},
    {80, "{she} met {a young teacher} in {paris} {yesterday}",
     "{she} {yesterday} 在 {paris} 遇到 了 {a young teacher}"},

    // Travel and weather.
    {80, "{she} go{es} to {the museum} {by bus} {every day}", "{she} {every day} {by bus} 去 {the museum}"},
    {60, "{she} went to {the museum} {by bus} {yesterday}", "{she} {yesterday} {by bus} 去 了 {the museum}"},
    {80, "{she} will go to {paris} {by train} {tomorrow}", "{she} {tomorrow} 会 {by train} 去 {paris}"},
    {60, "{she} {has} never been to {paris}", "{she} 没 去 过 {paris}"},
    {30, "it will be very {cold} in {paris} {tomorrow}", "{tomorrow} {paris} 会 非常 {cold}"},

    // Research.
    {80, "{she} stud{ies} {speech recognition}", "{she} 研究 {speech recognition}"},
    {60, "{she} {is} studying {speech recognition}", "{she} 正在 研究 {speech recognition}"},
    {60, "{she} {is} interested in {speech recognition}", "{she} 对 {speech recognition} 感兴趣"},
    {60, "{she} wrote a paper about {speech recognition} {yesterday}",
     "{she} {yesterday} 写 了 一 篇 关于 {speech recognition} 的 论文"},
    {60, "{this paper} is about {speech recognition}", "{this paper} 是 关于 {speech recognition} 的"},
    {60, "{he} teaches {speech recognition} in {paris}", "{he} 在 {paris} 教 {speech recognition}"},
    {60, "{speech recognition} is {difficult}", "{speech recognition} 很 {difficult}"},
    {60, "{speech recognition} is {more difficult} than {text analysis}",
     "{speech recognition} 比 {text analysis} {difficult}"},
    {40, "attention is important for {speech recognition}", "注意力 对 {speech recognition} 很 重要"},
    {80, "{she} trained {a large model} {yesterday}", "{she} {yesterday} 训练 了 {a large model}"},
    {80, "{she} use{s} {a model} for {speech recognition}", "{she} 用 {a model} 做 {speech recognition}"},
    {60, "{this model} translates {english} into {chinese}", "{this model} 把 {english} 翻译 成 {chinese}"},
};

/// Questions, which in Chinese have the word order of statements. {she} is never "i" or "we".
inline constexpr Rule questions[] = {
    {60, "do{es} {she} {often} {play}", "{she} {often} {play} 吗"},
    {50, "{is} {she} {playing} now", "{she} 现在 正在 {play} 吗"},
    {60, "did {she} {play} {yesterday}", "{she} {yesterday} {play} 了 吗"},
    {50, "can {she} {sing}", "{she} 会 {sing} 吗"},
    {50, "do{es} {she} like {playing} {at school}", "{she} 喜欢 {at school} {play} 吗"},
    {60, "where do{es} {she} {play}", "{she} 在 哪里 {play}"},
    {60, "when do{es} {she} {play}", "{she} 什么 时候 {play}"},
    {60, "why do{es} {she} like {playing}", "{she} 为什么 喜欢 {play}"},
    {80, "who is {playing} {at school}", "谁 正 {at school} {play}"},
    {60, "did {she} buy {a new car} {yesterday}", "{she} {yesterday} 买 了 {a new car} 吗"},
    {60, "what did {she} buy {yesterday}", "{she} {yesterday} 买 了 什么"},
    {130, "{how many cars} do{es} {she} have", "{she} 有 {how many cars}"},
    {100, "do{es} {she} want {a cake} or {a pear}", "{she} 想要 {a cake} 还是 {a pear}"},
    {80, "is there {a key} {on the table}", "{on the table} 有 {key} 吗"},
    {60, "where is {my} {key}", "{my} {key} 在 哪里"},
    {60, "is {this house} {big}", "{this house} {big} 吗"},
    {120, "which {house} is {bigger}", "{which house} 更 {big}"},
    {40, "is {he} {a teacher}", "{he} 是 {teacher} 吗"},
    {50, "how will {she} go to {paris} {tomorrow}", "{she} {tomorrow} 怎么 去 {paris}"},
    {50, "{has} {she} been to {paris}", "{she} 去 过 {paris} 吗"},
    {50, "do{es} {she} study {speech recognition}", "{she} 研究 {speech recognition} 吗"},
    {50, "what is {speech recognition}", "什么 是 {speech recognition}"},
};

}  // namespace translate
