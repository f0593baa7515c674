//! Texts in channels, of which one is the answer.

use super::elements::Fence;

/// The last channel that is an answer, of a text in channels: `<|channel|>analysis<|message|>…`,
/// and `<|channel>thought … <channel|>`. Also where the marks are gone and their names are not:
/// `analysisThe user asks …assistantfinalHello.`
pub fn final_channel(text: &str) -> Option<String> {
    if is_written(text, "<|channel|>") {
        let mut answer = String::new();
        let mut parts = text.split("<|channel|>");
        // What stands before the first is no channel's: the header of a message, or an answer.
        let before = parts.next().unwrap_or_default();
        for part in parts {
            let (name, said) = part.split_once("<|message|>").unwrap_or((part, ""));
            if name.trim_start().starts_with("final") {
                let end = said.find("<|").unwrap_or(said.len());
                answer.push_str(&said[..end]);
            }
        }
        let before = before.split("<|").next().unwrap_or_default();
        return Some(format!("{}{}", before, answer).trim().to_owned());
    }
    if let Some(begin) = text
        .find("<|channel>")
        .filter(|_| is_written(text, "<|channel>"))
    {
        let rest = &text[begin..];
        let end = rest
            .find("<channel|>")
            .map(|end| begin + end + "<channel|>".len());
        let behind = end.map_or("", |end| &text[end..]);
        return Some(format!("{}{}", &text[..begin], behind).trim().to_owned());
    }
    let thought = ["analysis", "commentary"]
        .iter()
        .find_map(|name| text.trim_start().strip_prefix(name))?;
    let (_, answer) = thought.rsplit_once("assistantfinal")?;
    Some(answer.trim().to_owned())
}

/// Whether a mark stands there that is not spoken of, in code or in backticks.
fn is_written(text: &str, mark: &str) -> bool {
    let mut places = Fence::around(text, mark);
    places.any(|(at, is_code)| !is_code && !text[..at].ends_with('`'))
}
