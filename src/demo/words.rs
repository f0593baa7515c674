//! What the demo says, in the languages that it speaks.

use std::collections::BTreeMap;

/// The texts of one language. `{}` stands for what is known only then.
#[derive(Debug)]
pub struct Words {
    pub beginning: &'static str,
    pub hello: &'static str,
    pub nothing: &'static str,
    pub persona: &'static str,
    pub streamed: &'static str,
    pub told: &'static str,
    pub fact: &'static str,
    pub recalled: &'static str,
    pub question: &'static str,
    pub tool: &'static str,
    pub sum: &'static str,
    pub calculating: &'static str,
    pub received: &'static str,
    pub characters: &'static str,
    pub invitation: &'static str,
    pub page: &'static str,
    pub end: &'static str,
}

/// What the demo's model is to calculate.
pub const SUM: (u64, u64) = (1_234_567, 891_011);

const ENGLISH: Words = Words {
    beginning: "An app talks to {} instead of its model's API.",
    hello: "Hello!",
    nothing: "1. Nothing to inject: the request arrives as the app sent it",
    persona: "2. A personality by name: its prompt is spliced in before the app's message",
    streamed: "3. The same, streamed: each event is passed on as it comes, byte for byte",
    told: "4. Memory: a fact told over Chat Completions …",
    fact: "My cat is called Pixel, and we live in Lisbon.",
    recalled: "   … is there in another conversation, over {}",
    question: "What is my cat called?",
    tool: "5. Tools: the model calls one in mid-stream, and the app sees one answer",
    sum: "What is 1234567 times 891011?",
    calculating: "Let me calculate that. ",
    received: "I am the demo upstream. I received {} messages:",
    characters: "characters",
    invitation: "It stays up. Try it yourself:",
    page: "the page, which shows all of this",
    end: "Ctrl-C ends it.",
};

const CHINESE: Words = Words {
    beginning: "应用把请求发给 {}，而不是模型自己的 API。",
    hello: "你好！",
    nothing: "1. 没有要加的内容：请求原样到达上游",
    persona: "2. 按名字选人格：它的提示词插在应用的消息之前",
    streamed: "3. 同样的请求，流式：每个事件到一个转一个，字节不变",
    told: "4. 记忆：在 Chat Completions 里说过的一件事……",
    fact: "我的猫叫皮皮，我们住在杭州。",
    recalled: "   ……换一个对话、换成 {} 也记得",
    question: "我的猫叫什么名字？",
    tool: "5. 工具：模型在流中途调用，应用看到的是一个完整的回答",
    sum: "1234567 乘以 891011 等于多少？",
    calculating: "我来算一下。 ",
    received: "我是演示用的上游，收到 {} 条消息：",
    characters: "个字符",
    invitation: "网关还在运行，可以自己试：",
    page: "管理页面，这些请求都在上面",
    end: "按 Ctrl-C 结束。",
};

impl Words {
    /// Those of the locale that the environment names.
    pub fn of(env: &BTreeMap<String, String>) -> &'static Self {
        let mut names = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter();
        let locale = names.find_map(|name| env.get(name).filter(|locale| !locale.is_empty()));
        match locale {
            Some(locale) if locale.to_lowercase().starts_with("zh") => &CHINESE,
            _ => &ENGLISH,
        }
    }
}

/// A text with what stands for its `{}`.
pub fn filled(text: &str, with: impl ToString) -> String {
    text.replacen("{}", &with.to_string(), 1)
}
