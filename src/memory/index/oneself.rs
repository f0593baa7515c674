//! Who somebody is: questions for it, and what tells it.

use std::sync::LazyLock;

use super::phrases::Phrases;
use super::terms::Term;

/// Stands for all that a speaker says of himself. No text has it: a term of a text is a hash, and
/// hits this one as seldom as any other.
pub const ONESELF: Term = 0x006f_6e65_7365_6c66;

/// Weight of it beside that of a word.
pub const WEIGHT: f32 = 3.0;

/// Questions for it, folded.
const ASKED: &[&str] = &[
    "who am i",
    "who i am",
    "about me",
    "know me",
    "remember me",
    "describe me",
    "about myself",
    "introduce me",
    "what am i like",
    "wer bin ich",
    "uber mich",
    "quien soy",
    "sobre mi",
    "sabes de mi",
    "qui suis-je",
    "qui je suis",
    "sur moi",
    "chi sono",
    "su di me",
    "quem sou eu",
    "kto ja jestem",
    "kim jestem",
    "o mnie",
    "ben kimim",
    "hakkimda",
    "toi la ai",
    "ve toi",
    "кто я",
    "обо мне",
    "من انا",
    "عني",
    "מי אני",
    "עליי",
    "मैं कौन",
    "मेरे बारे",
    "我是谁",
    "关于我",
    "了解我",
    "记得我",
    "认识我",
    "知道我",
    "介绍我",
    "我的情况",
    "我是什么样",
    "私は誰",
    "私について",
    "私のこと",
    "나는 누구",
    "저는 누구",
    "나에 대해",
    "저에 대해",
    "ฉันคือใคร",
    "ฉันเป็นใคร",
    "ผมเป็นใคร",
    "เกี่ยวกับฉัน",
    "เกี่ยวกับผม",
];

/// What tells most of oneself, folded.
const TELLS: &[&str] = &[
    "my name is",
    "call me ",
    "i am a ",
    "i'm a ",
    "i am an ",
    "i'm an ",
    "i work ",
    "i live in",
    "i am from",
    "i'm from",
    "i was born",
    "i come from",
    "years old",
    "the user",
    "ich heisse",
    "mein name",
    "ich bin ",
    "ich arbeite",
    "ich wohne",
    "me llamo",
    "mi nombre",
    "soy ",
    "vivo en",
    "trabajo ",
    "je m'appelle",
    "je suis ",
    "j'habite",
    "je travaille",
    "mi chiamo",
    "abito ",
    "lavoro ",
    "me chamo",
    "eu sou",
    "moro ",
    "nazywam sie",
    "jestem ",
    "mieszkam",
    "pracuje",
    "benim adim",
    "adim ",
    "toi la ",
    "toi ten ",
    "ten toi",
    "меня зовут",
    "я работаю",
    "я живу",
    "اسمي",
    "اعمل ",
    "קוראים לי",
    "אני עובד",
    "אני גר",
    "मेरा नाम",
    "मैं ",
    "我是",
    "我叫",
    "我的名字",
    "我住",
    "我在",
    "我今年",
    "用户",
    "私は",
    "僕は",
    "名前は",
    "저는",
    "제 이름",
    "나는",
    "ฉันชื่อ",
    "ผมชื่อ",
    "ฉันเป็น",
    "ผมเป็น",
    "ฉันทำงาน",
    "ผมทำงาน",
];

/// What tells something of it.
const TELLS_SOME: &[&str] = &[
    "i'm ",
    "i am ",
    "i have ",
    "i've ",
    "i like ",
    "i love ",
    "i prefer ",
    "i hate ",
    "i study",
    "my wife",
    "my husband",
    "my job",
    "my daughter",
    "my son",
    "my favourite",
    "my favorite",
    "allergic",
    "ich mag",
    "meine frau",
    "mein mann",
    "me gusta",
    "tengo ",
    "j'aime",
    "j'ai ",
    "mi piace",
    "gosto de",
    "lubie ",
    "я люблю",
    "у меня",
    "我喜欢",
    "我爱",
    "我有",
    "我的",
    "好きです",
    "좋아",
    "ฉันชอบ",
    "ผมชอบ",
];

/// Times that a text that tells most counts as telling.
const MOST: usize = 3;

static QUESTIONS: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(ASKED.iter().copied(), false));
static TELLING: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(TELLS.iter().chain(TELLS_SOME).copied(), true));

/// Whether a question, folded, is for who somebody is.
pub fn is_asked(folded: &str) -> bool {
    QUESTIONS.whole(folded).next().is_some()
}

/// How much a folded text tells of who says it; questions tell nothing.
pub fn told(folded: &str) -> usize {
    let mut most = 0;
    for (number, at) in TELLING.within(folded) {
        let behind = &folded[at.end..];
        let end = behind.find(['.', '?', '!', '。', '？', '！', '\n', ';']);
        let asks = end.is_some_and(|end| behind[end..].starts_with(['?', '？']));
        if asks {
            continue;
        }
        if number < TELLS.len() {
            return MOST;
        }
        most = 1;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::fold::fold;
    use super::*;

    #[test]
    fn questions_for_oneself_are_told_from_others() {
        for question in [
            "Who am I?",
            "What do you know about me?",
            "我是谁？",
            "你還記得我嗎",
            "Wer bin ich?",
            "¿Quién soy?",
            "Что ты знаешь обо мне?",
        ] {
            assert!(is_asked(&fold(question)), "{question}");
        }
        for question in [
            "Who is Ann?",
            "What about Mexico?",
            "Do you know Melbourne?",
            "她是谁？",
        ] {
            assert!(!is_asked(&fold(question)), "{question}");
        }
    }

    #[test]
    fn what_tells_of_oneself_is_told_from_what_does_not() {
        for (text, expected) in [
            ("Hi! I'm Ann, and I work as a nurse in Leeds.", 3),
            ("我是一名护士，住在利兹", 3),
            ("I love jasmine tea", 1),
            ("The train leaves at noon", 0),
            ("Do you think that I am a fool?", 0),
        ] {
            assert_eq!(told(&fold(text)), expected, "{text}");
        }
    }
}
