//! Words that carry grammar rather than content.

/// Characters that only carry grammar. They still take part in pairs.
pub fn is_ideographic_stop(c: char) -> bool {
    "的了呢吗嘛啊呀吧着过是在有和与也都就还很这那哪个们我你您他她它么什谁之其于被把对给从到"
        .contains(c)
}

/// How much a word tells that a text is English, in words for which it stands.
pub fn tells_english(word: &str) -> u8 {
    match is_english_stop(word) {
        true if ALSO_OTHERS.binary_search(&word).is_ok() => 3,
        true => 10,
        false => 0,
    }
}

/// English words that other languages have too, sorted.
const ALSO_OTHERS: &[&str] = &[
    "a", "am", "an", "as", "at", "be", "by", "do", "had", "has", "he", "her", "i", "in", "is",
    "it", "me", "my", "no", "of", "off", "on", "or", "over", "so", "to", "up", "us", "was", "we",
];

/// Whether a word, folded, carries grammar in a language that is not English.
pub fn is_foreign(word: &str) -> bool {
    FUNCTION_WORDS.binary_search(&word).is_ok()
}

/// Words that carry grammar in other languages, folded and sorted.
#[rustfmt::skip]
const FUNCTION_WORDS: &[&str] = &[
    "a", "adalah", "ai", "aku", "al", "am", "apa", "ar", "as", "au", "auf", "aux", "av", "avec",
    "bei", "ben", "benim", "bin", "bir", "bu", "ce", "cette", "che", "chi", "cho", "co", "com",
    "come", "comment", "como", "con", "cua", "cual", "cuando", "cuanto", "czy", "da", "dan",
    "dans", "dari", "das", "dat", "de", "dei", "dein", "deine", "del", "della", "dem", "den",
    "dengan", "der", "des", "det", "di", "die", "din", "dla", "do", "donde", "dos", "dove", "du",
    "e", "een", "ein", "eine", "einem", "einen", "einer", "el", "elle", "em", "en", "er", "es",
    "est", "esta", "et", "ett", "eu", "fran", "fur", "gdzie", "gi", "gli", "ha", "habe", "hangi",
    "har", "hat", "he", "heb", "het", "ho", "hoe", "hur", "hva", "hvor", "i", "ich", "icin",
    "ik", "il", "ile", "im", "ini", "ist", "itu", "ja", "jag", "jak", "jaka", "jaki", "jakie",
    "jaky", "je", "jeg", "jest", "jouw", "kde", "kdo", "kdy", "ke", "kiedy", "kim", "kto", "la",
    "las", "le", "les", "lo", "los", "ma", "mam", "med", "mein", "meine", "meinem", "meinen",
    "meiner", "mes", "met", "meu", "meus", "mi", "mia", "miei", "mijn", "min", "mina", "minha",
    "minhas", "mio", "mis", "mit", "mitt", "mnie", "moj", "moja", "moje", "mon", "mu", "muj",
    "na", "nao", "nar", "nas", "nasil", "ne", "nerede", "no", "nos", "nous", "o", "och", "od",
    "og", "onde", "op", "os", "ou", "pa", "para", "per", "po", "por", "pour", "quais", "qual",
    "quale", "quando", "que", "quel", "quelle", "quem", "qui", "quien", "quoi", "s", "sa",
    "saya", "se", "senin", "seu", "siapa", "sie", "sind", "som", "son", "sono", "sont", "sou",
    "soy", "su", "sua", "suis", "sur", "ta", "te", "tengo", "tenho", "til", "till", "to", "toi",
    "ton", "tu", "tuo", "um", "uma", "un", "una", "und", "une", "untuk", "v", "va", "vad", "van",
    "var", "ve", "vilken", "voi", "vom", "von", "voor", "vous", "w", "waar", "wann", "wanneer",
    "war", "was", "wat", "we", "welche", "welcher", "welches", "welke", "wer", "wie", "wir",
    "wo", "y", "yang", "yo", "z", "ze", "zijn", "zu", "zum", "zur", "για", "ειναι", "ενα",
    "εχει", "εχω", "η", "θα", "και", "με", "μου", "οι", "ποια", "ποιο", "ποιοσ", "ποτε", "που",
    "πωσ", "σε", "στη", "στην", "στο", "τα", "τη", "την", "της", "τι", "το", "τον", "του", "в",
    "во", "где", "для", "и", "к", "как", "какая", "какое", "какой", "когда", "кто", "меня",
    "мне", "мое", "мои", "мой", "моя", "мы", "на", "не", "о", "он", "она", "они", "от", "по",
    "с", "со", "ты", "у", "чем", "что", "это", "я", "איך", "איפה", "אני", "את", "ב", "הוא",
    "היא", "זה", "יש", "ל", "לי", "מה", "מי", "מתי", "על", "של", "الى", "انا", "اين", "على",
    "عن", "عندي", "في", "كم", "لي", "ما", "ماذا", "متى", "من", "هل", "هو", "هي", "और", "कब",
    "कहा", "का", "की", "के", "को", "कौन", "क्या", "ने", "पर", "मे", "में", "मेरा", "मेरी",
    "मेरे", "से", "हु", "हे", "है", "हैं",
];

pub fn is_english_stop(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// English words that carry grammar rather than content, sorted.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "aren't", "as",
    "at", "be", "because", "been", "before", "being", "between", "both", "but", "by", "can",
    "can't", "could", "couldn't", "did", "didn't", "do", "does", "doesn't", "doing", "don't",
    "during", "each", "for", "from", "further", "had", "hadn't", "has", "hasn't", "have",
    "haven't", "having", "he", "he's", "her", "here", "hers", "him", "his", "how", "i", "i'd",
    "i'll", "i'm", "i've", "if", "in", "into", "is", "isn't", "it", "it's", "its", "just", "let's",
    "me", "more", "most", "my", "no", "nor", "not", "of", "off", "on", "once", "only", "or",
    "other", "our", "out", "over", "own", "same", "she", "she's", "should", "so", "some", "such",
    "than", "that", "that's", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "through", "to", "too", "under", "until", "up", "us", "very", "was", "wasn't", "we",
    "were", "weren't", "what", "what's", "when", "where", "which", "while", "who", "whom", "why",
    "will", "with", "won't", "would", "wouldn't", "yeah", "you", "you're", "your", "yours",
];
