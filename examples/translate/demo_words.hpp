// The words of the demo corpus, which fill the rules of demo_grammar.hpp.
#pragma once

#include <span>
#include <string_view>

namespace translate::words {

/// A text in English and Chinese: any number of words on either side.
struct Word {
  std::string_view english;
  std::string_view chinese;
};

// --- People --------------------------------------------------------------------------------------------------------

enum class Person { first, second, third };

struct Pronoun {
  Person person;
  bool plural;
  Word subject, object, owner;
};
inline constexpr Pronoun pronouns[] = {
    {Person::first, false, {"i", "我"}, {"me", "我"}, {"my", "我 的"}},
    {Person::second, false, {"you", "你"}, {"you", "你"}, {"your", "你 的"}},
    {Person::third, false, {"he", "他"}, {"him", "他"}, {"his", "他 的"}},
    {Person::third, false, {"she", "她"}, {"her", "她"}, {"her", "她 的"}},
    {Person::first, true, {"we", "我们"}, {"us", "我们"}, {"our", "我们 的"}},
    {Person::third, true, {"they", "他们"}, {"them", "他们"}, {"their", "他们 的"}},
};
inline constexpr auto singular_pronouns = std::span(pronouns).first<4>();

/// Chinese omits 的 before relatives: "my mother" is 我 妈妈, but "my book" is 我 的 书.
struct Relative {
  Word name, owner;
};
inline constexpr Relative family[] = {
    {{"mother", "妈妈"}, {"her", "她 的"}},
    {{"father", "爸爸"}, {"his", "他 的"}},
    {{"older sister", "姐姐"}, {"her", "她 的"}},
    {{"younger brother", "弟弟"}, {"his", "他 的"}},
};

// --- Things --------------------------------------------------------------------------------------------------------

/// A noun and its measure word, which follows a number, 这 or 那: "three books" is 三 本 书.
struct Noun {
  std::string_view singular, plural, chinese, measure;
};
inline constexpr Noun people[] = {
    {"teacher", "teachers", "老师", "位"},     {"student", "students", "学生", "个"},
    {"doctor", "doctors", "医生", "位"},       {"scientist", "scientists", "科学家", "位"},
    {"engineer", "engineers", "工程师", "位"}, {"child", "children", "孩子", "个"},
    {"girl", "girls", "女孩", "个"},           {"boy", "boys", "男孩", "个"},
};
inline constexpr Noun animals[] = {
    {"cat", "cats", "猫", "只"},         {"dog", "dogs", "狗", "只"},     {"bird", "birds", "鸟", "只"},
    {"rabbit", "rabbits", "兔子", "只"}, {"horse", "horses", "马", "匹"}, {"fish", "fish", "鱼", "条"},
};
inline constexpr auto small_animals = std::span(animals).first<4>();  // small enough for under a chair
inline constexpr Noun books[] = {
    {"book", "books", "书", "本"},
    {"novel", "novels", "小说", "本"},
    {"magazine", "magazines", "杂志", "本"},
};
inline constexpr Noun writings[] = {
    {"letter", "letters", "信", "封"},
    {"poem", "poems", "诗", "首"},
    {"article", "articles", "文章", "篇"},
    {"story", "stories", "故事", "个"},
};
inline constexpr Noun clothes[] = {
    {"shirt", "shirts", "衬衫", "件"},
    {"coat", "coats", "大衣", "件"},
    {"dress", "dresses", "裙子", "条"},
    {"pair of shoes", "pairs of shoes", "鞋", "双"},
};
inline constexpr Noun accessories[] = {
    {"hat", "hats", "帽子", "顶"},
    {"scarf", "scarves", "围巾", "条"},
    {"watch", "watches", "手表", "块"},
};
inline constexpr Noun portables[] = {
    {"key", "keys", "钥匙", "把"}, {"phone", "phones", "手机", "部"}, {"camera", "cameras", "相机", "台"},
    {"map", "maps", "地图", "张"}, {"pen", "pens", "笔", "支"},
};
inline constexpr Noun furniture[] = {
    {"table", "tables", "桌子", "张"},
    {"chair", "chairs", "椅子", "把"},
    {"car", "cars", "汽车", "辆"},
    {"bicycle", "bicycles", "自行车", "辆"},
};
inline constexpr Noun foods[] = {
    {"apple", "apples", "苹果", "个"},
    {"egg", "eggs", "鸡蛋", "个"},
    {"bowl of rice", "bowls of rice", "米饭", "碗"},
    {"piece of cake", "pieces of cake", "蛋糕", "块"},
};
inline constexpr Noun drinks[] = {
    {"cup of tea", "cups of tea", "茶", "杯"},
    {"cup of coffee", "cups of coffee", "咖啡", "杯"},
    {"glass of milk", "glasses of milk", "牛奶", "杯"},
};

// --- Qualities -----------------------------------------------------------------------------------------------------

/// An adjective. Before a noun, Chinese may need 的 or another word: 一 辆 昂贵 的 汽车, but 汽车 很 贵.
struct Adjective {
  std::string_view english, comparative, before_noun, predicate;
};
inline constexpr Adjective of_people[] = {
    {"young", "younger", "年轻 的", "年轻"},
    {"tall", "taller", "高个子 的", "高"},
    {"smart", "smarter", "聪明 的", "聪明"},
    {"famous", "more famous", "有名 的", "有名"},
};
inline constexpr Adjective of_animals[] = {
    {"big", "bigger", "大", "大"},
    {"small", "smaller", "小", "小"},
    {"old", "older", "老", "老"},
    {"smart", "smarter", "聪明 的", "聪明"},
    {"beautiful", "more beautiful", "漂亮 的", "漂亮"},
};
inline constexpr Adjective of_texts[] = {
    {"new", "newer", "新", "新"},
    {"interesting", "more interesting", "有趣 的", "有趣"},
    {"famous", "more famous", "有名 的", "有名"},
    {"important", "more important", "重要 的", "重要"},
};
inline constexpr Adjective of_things[] = {
    {"new", "newer", "新", "新"},
    {"old", "older", "旧", "旧"},
    {"big", "bigger", "大", "大"},
    {"small", "smaller", "小", "小"},
    {"cheap", "cheaper", "便宜 的", "便宜"},
    {"beautiful", "more beautiful", "漂亮 的", "漂亮"},
    {"expensive", "more expensive", "昂贵 的", "贵"},
};
inline constexpr Adjective of_foods[] = {{"delicious", "", "好吃 的", "好吃"}};
inline constexpr Adjective of_drinks[] = {{"delicious", "", "好喝 的", "好喝"}};
inline constexpr Adjective colours[] = {{"red", "", "红色 的", "红色 的"},
                                        {"blue", "", "蓝色 的", "蓝色 的"},
                                        {"white", "", "白色 的", "白色 的"},
                                        {"black", "", "黑色 的", "黑色 的"}};

/// Nouns and the adjectives that fit all of them.
struct Kind {
  std::span<const Noun> nouns;
  std::span<const Adjective> adjectives;
};
inline constexpr Kind kinds[] = {{people, of_people},      {animals, of_animals}, {writings, of_texts},
                                 {books, of_texts},        {clothes, of_things},  {portables, of_things},
                                 {accessories, of_things}, {furniture, of_things}};
inline constexpr auto belongings = std::span(kinds).subspan<3>();
inline constexpr auto portable_belongings = std::span(kinds).subspan<3, 4>();
inline constexpr Kind professions{std::span(people).first<5>(), of_people};
inline constexpr Kind creatures{animals, of_animals};
inline constexpr Kind texts{writings, of_texts};
inline constexpr Kind pets{small_animals, of_animals};

/// Objects and their verbs: 穿 for clothes, 戴 for accessories, 吃 for food, 喝 for drinks.
struct Use {
  Kind what;
  Word base, other_form;
};
inline constexpr Use wearing[] = {{{clothes, colours}, {"wear", "穿"}, {"wearing", "穿 着"}},
                                  {{accessories, colours}, {"wear", "戴"}, {"wearing", "戴 着"}}};
inline constexpr Use meals[] = {{{foods, of_foods}, {"eat", "吃"}, {"ate", "吃 了"}},
                                {{drinks, of_drinks}, {"drink", "喝"}, {"drank", "喝 了"}}};

inline constexpr Word numbers[] = {{"two", "两"}, {"three", "三"}, {"four", "四"}, {"five", "五"},
                                   {"six", "六"}, {"seven", "七"}, {"ten", "十"}};

// --- Activities, places and times ----------------------------------------------------------------------------------

struct Verb {
  std::string_view base, third, ing, past;
};
inline constexpr Verb play{"play", "plays", "playing", "played"};
inline constexpr Verb speak{"speak", "speaks", "speaking", "spoke"};
inline constexpr Verb sing{"sing", "sings", "singing", "sang"};
inline constexpr Verb cook{"cook", "cooks", "cooking", "cooked"};
inline constexpr Verb read{"read", "reads", "reading", "read"};
inline constexpr Verb write{"write", "writes", "writing", "wrote"};
inline constexpr Verb learn{"learn", "learns", "learning", "learned"};
inline constexpr Verb drink{"drink", "drinks", "drinking", "drank"};
inline constexpr Verb watch{"watch", "watches", "watching", "watched"};
inline constexpr Verb work{"work", "works", "working", "worked"};

inline constexpr Word outside[] = {{"in the park", "在 公园"}, {"at school", "在 学校"}, {"in the garden", "在 花园"}};
inline constexpr Word inside[] = {{"in the library", "在 图书馆"},
                                  {"in the classroom", "在 教室"},
                                  {"in the office", "在 办公室"},
                                  {"at home", "在 家"}};
inline constexpr Word at_the_stove[] = {{"in the kitchen", "在 厨房"}, {"at home", "在 家"}};

/// A verb with its object, because the object decides the translation: "play" is 踢, 打, 弹, 拉, 下 or 玩.
struct Activity {
  Verb verb;
  std::string_view object, chinese;
  std::span<const Word> places;
};
inline constexpr Activity activities[] = {
    {play, "football", "踢 足球", outside},
    {play, "basketball", "打 篮球", outside},
    {play, "tennis", "打 网球", outside},
    {play, "the piano", "弹 钢琴", inside},
    {play, "the guitar", "弹 吉他", inside},
    {play, "the violin", "拉 小提琴", inside},
    {play, "chess", "下 棋", inside},
    {speak, "chinese", "说 汉语", inside},
    {speak, "english", "说 英语", inside},
    {sing, "songs", "唱 歌", outside},
    {sing, "english songs", "唱 英语 歌", outside},
    {cook, "dinner", "做 晚饭", at_the_stove},
    {cook, "rice", "做 米饭", at_the_stove},
    // The activities above are skills: "she can play chess".
    {play, "games", "玩 游戏", inside},
    {read, "books", "看 书", inside},
    {read, "novels", "看 小说", inside},
    {write, "letters", "写 信", inside},
    {write, "novels", "写 小说", inside},
    {learn, "chinese", "学 汉语", inside},
    {learn, "french", "学 法语", inside},
    {drink, "tea", "喝 茶", inside},
    {drink, "coffee", "喝 咖啡", inside},
    {watch, "films", "看 电影", inside},
    {watch, "football", "看 足球", inside},
    {work, "", "工作", inside},
};
inline constexpr auto skills = std::span(activities).first<13>();

inline constexpr Word past_times[] = {
    {"yesterday", "昨天"}, {"last night", "昨天 晚上"}, {"this morning", "今天 早上"}, {"last week", "上 个 星期"}};
inline constexpr Word future_times[] = {
    {"tomorrow", "明天"}, {"tomorrow morning", "明天 早上"}, {"next week", "下 个 星期"}, {"on sunday", "星期天"}};
inline constexpr Word habits[] = {
    {"every day", "每天"}, {"every morning", "每天 早上"}, {"every week", "每 个 星期"}, {"on weekends", "周末"}};
inline constexpr Word frequencies[] = {{"often", "经常"}, {"always", "总是"}, {"sometimes", "有时"}};
inline constexpr Word spots[] = {
    {"on the table", "桌子 上"},      {"under the table", "桌子 下面"}, {"on the chair", "椅子 上"},
    {"under the chair", "椅子 下面"}, {"on the bed", "床 上"},          {"under the bed", "床 下面"},
    {"in the box", "盒子 里"},        {"in the car", "汽车 里"},        {"behind the door", "门 后面"},
    {"behind the box", "盒子 后面"},  {"behind the tree", "树 后面"},   {"under the tree", "树 下面"},
    {"next to the door", "门 旁边"}};
inline constexpr Word destinations[] = {{"the library", "图书馆"},
                                        {"the park", "公园"},
                                        {"school", "学校"},
                                        {"the office", "办公室"},
                                        {"the museum", "博物馆"}};
inline constexpr Word cities[] = {{"beijing", "北京"}, {"shanghai", "上海"}, {"london", "伦敦"}, {"paris", "巴黎"}};
inline constexpr Word short_ways[] = {{"by bus", "坐 公交车"}, {"by bicycle", "骑 自行车"}, {"by car", "开 车"}};
inline constexpr Word long_ways[] = {{"by train", "坐 火车"}, {"by plane", "坐 飞机"}, {"by car", "开 车"}};
inline constexpr Word weathers[] = {{"cold", "冷"}, {"hot", "热"}};
inline constexpr Word feelings[] = {{"happy", "高兴"}, {"surprised", "惊讶"}};

/// Slots of the grammar that take any word of one table.
struct Choice {
  std::string_view slot;
  std::span<const Word> words;
};
inline constexpr Choice choices[] = {
    {"yesterday", past_times}, {"tomorrow", future_times},   {"every day", habits}, {"often", frequencies},
    {"on the table", spots},   {"the museum", destinations}, {"paris", cities},     {"by bus", short_ways},
    {"by train", long_ways},   {"cold", weathers},           {"happy", feelings}};

// --- Research ------------------------------------------------------------------------------------------------------

/// Parts of a topic: a qualifier, a material and a process, as in "medical image analysis".
inline constexpr Word approaches[] = {{"automatic", "自动"}, {"neural", "神经"}, {"medical", "医学"}};
inline constexpr std::string_view natural_language = "natural language";
inline constexpr Word materials[] = {
    {"natural language", "自然 语言"}, {"speech", "语音"}, {"image", "图像"}, {"text", "文本"}, {"video", "视频"}};
inline constexpr Word tasks[] = {{"processing", "处理"},  {"understanding", "理解"},  {"generation", "生成"},
                                 {"recognition", "识别"}, {"classification", "分类"}, {"analysis", "分析"}};
inline constexpr Word other_topics[] = {{"machine translation", "机器 翻译"},
                                        {"neural machine translation", "神经 机器 翻译"},
                                        {"automatic machine translation", "自动 机器 翻译"},
                                        {"machine learning", "机器 学习"},
                                        {"deep learning", "深度 学习"},
                                        {"reinforcement learning", "强化 学习"},
                                        {"deep reinforcement learning", "深度 强化 学习"}};
inline constexpr Adjective of_topics[] = {{"difficult", "more difficult", "", "难"},
                                          {"useful", "more useful", "", "有用"},
                                          {"interesting", "more interesting", "", "有趣"},
                                          {"important", "more important", "", "重要"}};
inline constexpr Noun model_nouns[] = {{"neural network", "neural networks", "神经 网络", "个"},
                                       {"language model", "language models", "语言 模型", "个"},
                                       {"speech model", "speech models", "语音 模型", "个"},
                                       {"image model", "image models", "图像 模型", "个"}};
inline constexpr Adjective of_models[] = {
    {"large", "larger", "大型", "大"}, {"small", "smaller", "小型", "小"}, {"deep", "deeper", "深度", "深"}};
inline constexpr Kind models{model_nouns, of_models};
inline constexpr Noun paper[] = {{"paper", "papers", "论文", "篇"}};
inline constexpr Kind papers{paper, of_texts};
inline constexpr Word languages[] = {{"chinese", "汉语"}, {"english", "英语"}, {"french", "法语"}, {"german", "德语"}};

}  // namespace translate::words
