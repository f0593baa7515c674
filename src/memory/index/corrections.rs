//! Messages that take back what was said before: “No, it's Eva now.” They hardly hold a word of what they
//! correct, and count for nothing without it.

/// How they begin, in small letters.
const BEGIN: [&str; 62] = [
    "no, ",
    "no. ",
    "no - ",
    "no wait",
    "nope",
    "not quite",
    "not true",
    "that's wrong",
    "that is wrong",
    "that's not",
    "that is not",
    "that was wrong",
    "this is wrong",
    "wrong",
    "actually",
    "correction",
    "i meant",
    "i mean ",
    "i was wrong",
    "i misspoke",
    "i made a mistake",
    "my mistake",
    "my bad",
    "sorry, ",
    "scratch that",
    "forget that",
    "update:",
    "edit:",
    "make that",
    "it's now",
    "it is now",
    "not anymore",
    "nein, ",
    "nein. ",
    "das stimmt nicht",
    "falsch",
    "ich meinte",
    "korrektur",
    "doch nicht",
    "non, ",
    "c'est faux",
    "en fait",
    "je voulais dire",
    "en realidad",
    "quise decir",
    "me equivoqué",
    "não, ",
    "na verdade",
    "нет, ",
    "неверно",
    "на самом деле",
    "不对",
    "不是",
    "错了",
    "說錯",
    "说错",
    "其实",
    "更正",
    "我是说",
    "いや",
    "違い",
    "訂正",
];
/// Bytes of one at most.
const LONGEST: usize = 400;

/// Whether a text is one.
pub fn corrects(text: &str) -> bool {
    let text = text.trim_start();
    let Some(first) = text.chars().next().filter(|_| text.len() <= LONGEST) else {
        return false;
    };
    let mut small = first.to_lowercase();
    let (first, rest) = (small.next(), &text[first.len_utf8()..]);
    // Most begin with another letter.
    let mut begin = BEGIN.iter().filter(|begin| begin.chars().next() == first);
    begin.any(|begin| {
        let begin = &begin[first.map_or(0, char::len_utf8)..];
        let head = rest.get(..begin.len());
        let plain = |head: &str| head.replace('’', "'").to_lowercase();
        head.is_some_and(|head| head.eq_ignore_ascii_case(begin))
            || rest
                .get(..rest.floor_char_boundary(begin.len() + 4))
                .is_some_and(|head| !head.is_ascii() && plain(head).starts_with(begin))
    })
}

#[cfg(test)]
mod tests {
    use super::corrects;

    #[test]
    fn what_takes_something_back_is_known_by_how_it_begins() {
        for text in [
            "No, that's wrong, it's Eva now.",
            "Actually it's Thursday",
            "That’s not right: 41",
            "Nein, in Bonn.",
            "不对，是周五",
            "На самом деле, в Туле",
            "sorry, I meant blue",
        ] {
            assert!(corrects(text), "{text}");
        }
        for text in [
            "Nobody came",
            "I like it",
            "Note this",
            "Is that wrong?",
            "",
            "今天不对劲",
        ] {
            assert!(!corrects(text), "{text}");
        }
    }
}
