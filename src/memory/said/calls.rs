//! Calls of tools that stand in an answer's text, as of agents that do without the API's own, and what such an
//! answer says to the user.

use super::elements::{Fence, MOST_OPEN};

/// Elements that call a tool.
const CALLS: [&str; 34] = [
    "tool_call",
    "tool_calls",
    "tool_use",
    "function_call",
    "function_calls",
    "invoke",
    "use_tool",
    "use_mcp_tool",
    "access_mcp_resource",
    "read_file",
    "write_file",
    "write_to_file",
    "edit_file",
    "create_file",
    "delete_file",
    "replace_in_file",
    "apply_diff",
    "insert_content",
    "search_and_replace",
    "search_files",
    "codebase_search",
    "list_files",
    "list_code_definition_names",
    "execute_command",
    "execute_bash",
    "browser_action",
    "web_fetch",
    "web_search",
    "new_task",
    "switch_mode",
    "update_todo_list",
    "fetch_instructions",
    "load_mcp_documentation",
    "minimax:tool_call",
];
/// Marks that do.
const MARKS: [&str; 10] = [
    "<function=",
    "<|tool_call",
    "<|tool▁call",
    "<｜tool▁call",
    "<|python_tag|>",
    "<|action_start|>",
    "<seed:tool_call>",
    "<longcat_tool_call>",
    "[TOOL_CALLS]",
    "[TOOL_REQUEST]",
];
/// Calls that speak to the user, and the element that holds what they say.
const SPEAK: [(&str, &str); 5] = [
    ("<attempt_completion>", "result"),
    ("<ask_followup_question>", "question"),
    ("<plan_mode_respond>", "response"),
    ("<plan_mode_response>", "response"),
    ("<finish>", "message"),
];
/// How agents say what they are about to do: `Let me look at …`.
const BEGIN: [&str; 16] = [
    "let me ",
    "now let me ",
    "first, let me ",
    "i'll ",
    "i will ",
    "i'm going to ",
    "now i'll ",
    "now i will ",
    "next, i'll ",
    "first, i'll ",
    "让我",
    "我来",
    "我先",
    "接下来我",
    "现在我",
    "我将",
];
const ABOUT: [&str; 34] = [
    "check",
    "look",
    "read",
    "search",
    "run ",
    "start",
    "open",
    "examine",
    "inspect",
    "explore",
    "investigate",
    "find ",
    "list ",
    "fix ",
    "update ",
    "create ",
    "add ",
    "write ",
    "implement",
    "analyze",
    "verify",
    "test ",
    "see ",
    "try ",
    "查看",
    "检查",
    "读取",
    "搜索",
    "运行",
    "看看",
    "看一下",
    "分析",
    "修改",
    "创建",
];
/// Bytes of it at most.
const LONGEST: usize = 200;

/// What an answer that calls tools in its text says to the user; `None` where it calls none.
pub fn beside(text: &str) -> Option<String> {
    // Few texts close an element.
    let closes = text.contains("</");
    let mut spoken = SPEAK.iter().filter(|_| closes);
    if let Some((call, holds)) = spoken.find(|(call, _)| stands(text, call)) {
        let call = &text[text.find(call)?..];
        return Some(inner(call, holds).unwrap_or_default());
    }
    let mut called = CALLS.iter().filter(|_| closes);
    let calls = MARKS.iter().any(|mark| stands(text, mark))
        || acts(text)
        || called.any(|name| {
            text.contains(&format!("</{name}>"))
                && (stands(text, &format!("<{name}>")) || stands(text, &format!("<{name} ")))
        });
    calls.then(String::new)
}

/// Whether an answer does no more than tell what its agent is about to do.
pub fn is_progress(text: &str) -> bool {
    let text = text.trim();
    if text.len() > LONGEST || text.contains('\n') {
        return false;
    }
    let lower = text.to_lowercase().replace('’', "'");
    let mut begins = BEGIN.iter().filter_map(|begin| lower.strip_prefix(begin));
    begins.any(|rest| {
        let rest = rest.strip_prefix("also ").unwrap_or(rest);
        let rest = rest.strip_prefix("now ").unwrap_or(rest);
        ABOUT.iter().any(|about| rest.starts_with(about))
    })
}

/// Whether a mark begins a line and is no code.
fn stands(text: &str, mark: &str) -> bool {
    let mut places = Fence::around(text, mark).take(MOST_OPEN);
    places.any(|(at, is_code)| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        !is_code && text[line..at].trim().is_empty()
    })
}

/// `Action: search` and `Action Input: …`, each on a line of its own.
fn acts(text: &str) -> bool {
    let is_there = |label| stands(text, label);
    is_there("Action:") && is_there("Action Input:") && !text.contains("Final Answer:")
}

/// What stands in the element of this name.
fn inner(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let end = rest.find(&format!("</{name}>")).unwrap_or(rest.len());
    Some(rest[..end].trim().to_owned())
}
