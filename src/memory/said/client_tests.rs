//! What clients and agents put around what is said.

use super::*;

fn said(text: &str) -> String {
    user_words(text).into_owned()
}

#[test]
fn an_answer_that_calls_tools_in_its_text_says_what_it_tells_the_user() {
    for text in [
        "I'll read it.\n\n<read_file>\n<path>a.rs</path>\n</read_file>",
        "<thinking>x</thinking>\n<execute_command>\n<command>ls</command>\n</execute_command>",
        "<tool_call>\n{\"name\": \"ls\"}\n</tool_call>",
        "<function=execute_bash>\n<parameter=command>ls</parameter>\n</function>",
        "<|python_tag|>ls()",
        "Thought: I should look.\nAction: search\nAction Input: cats",
    ] {
        assert_eq!(answer_words(text), "", "{text}");
    }
    assert_eq!(
        answer_words(
            "<thinking>x</thinking>\n<attempt_completion>\n<result>\nIt is done.\n</result>\n</attempt_completion>"
        ),
        "It is done."
    );
    assert_eq!(
        answer_words(
            "<ask_followup_question>\n<question>Which cat?</question>\n</ask_followup_question>"
        ),
        "Which cat?"
    );
    for own in [
        "Write `<tool_call>` like so:\n```\n<tool_call>\nx\n</tool_call>\n```",
        "The element <read_file> is Cline's, and </read_file> closes it.",
        "Action: eat less. No input.",
    ] {
        assert_eq!(answer_words(own), own);
    }
    for text in [
        "Let me check the config file.",
        "Now I'll run the tests:",
        "让我看看配置文件。",
        "I’ll look at it.",
    ] {
        assert!(is_progress(text), "{text}");
    }
    for text in [
        "Let me know if it works.",
        "I'll remember that.",
        "Let me check.\nIt is two.",
        "You have two cats.",
    ] {
        assert!(!is_progress(text), "{text}");
    }
}

#[test]
fn what_each_client_puts_around_is_not_said() {
    let asked = "My sister is called Ada, fix the build.";
    for text in [
        // Claude Code
        format!("<ide_opened_file>The user opened a.rs.</ide_opened_file>\n{asked}"),
        format!(
            "{asked}\n<system-reminder>\nThe TodoWrite tool has not been used.\n</system-reminder>"
        ),
        // Codex
        format!("<environment_context>\n<cwd>/a</cwd>\n</environment_context>\n{asked}"),
        // Cursor
        format!(
            "<additional_data>\n<current_file>\nPath: a.rs\n</current_file>\n</additional_data>\n\n<user_query>\n{asked}\n</user_query>"
        ),
        format!(
            "<open_and_recently_viewed_files>\na.rs\n</open_and_recently_viewed_files>\n<project_layout>\n- a\n</project_layout>\n<user_query>{asked}</user_query>"
        ),
        // Cline, Roo
        format!(
            "<user_message>\n{asked}\n</user_message>\n\n<environment_details>\n# VSCode Visible Files\na.rs\n</environment_details>"
        ),
        // Zed
        format!(
            "<context>\nThe following items were attached by the user.\n\n<files>\n```a.rs\nfn a() {{}}\n```\n</files>\n</context>\n\n{asked}"
        ),
        // Copilot
        format!(
            "<attachments>\n<attachment id=\"a.rs\">\nfn a()\n</attachment>\n</attachments>\n<context>\nToday.\n</context>\n<editorContext>\nThe user's current file is a.rs.\n</editorContext>\n<reminderInstructions>\nGo on.\n</reminderInstructions>\n<userRequest>\n{asked}\n</userRequest>"
        ),
        // Windsurf, Kiro, Amp, Goose
        format!(
            "<USER_REQUEST>\n{asked}\n</USER_REQUEST>\n<ADDITIONAL_METADATA>\nNow.\n</ADDITIONAL_METADATA>"
        ),
        format!(
            "<EnvironmentContext>\n<OPEN-EDITOR-FILES>a.rs</OPEN-EDITOR-FILES>\n</EnvironmentContext>\n{asked}"
        ),
        format!("<user-state>\nfile: a.rs\n</user-state>\n{asked}"),
        format!("<info-msg>\nIt is currently noon.\n</info-msg>\n{asked}"),
        // aider, Gemini CLI
        format!("{asked}\n\n# *SEARCH/REPLACE block* Rules:\n\nEvery block must use this format."),
        format!(
            "{asked}\n--- Content from referenced files ---\nContent from @a.rs:\nfn a() {{}}\n--- End of content ---"
        ),
    ] {
        assert_eq!(said(&text), asked, "{text}");
    }
    for text in [
        "[ERROR] You did not use a tool in your previous response! Please retry with a tool use.\n\n# Reminder",
        "[TASK RESUMPTION] This task was interrupted 5 minutes ago.\nIt may be done.",
        "Called the Read tool with the following input: {\"filePath\":\"a.rs\"}\n<file>\n00001| x\n</file>",
        "<turn_aborted>\nThe user interrupted it.\n</turn_aborted>",
        "<user_shell_command>\n<command>ls</command>\n</user_shell_command>",
    ] {
        assert_eq!(said(text), "", "{text}");
    }
}

#[test]
fn whom_a_template_quotes_is_not_the_user() {
    let asked = "May I keep my cat here?";
    for context in [
        "The tenant wrote: \"I have a cat, and my cat is old.\"",
        "Die Mieterin sagt: „Ich habe eine Katze.“",
        "租客说：“我有一只猫。”",
        "[1] I keep bees.\n[2] We keep cats.",
        "Document 1: I am the landlord.",
        "User: I live in Oslo.\nAssistant: Noted.",
    ] {
        let text = format!("Context:\n{context}\n\nQuestion: {asked}");
        assert_eq!(said(&text), asked, "{text}");
    }
    let own = "Context: I'm moving, and he said \"good\".\nQuestion: what should I pack?";
    assert_eq!(said(own), own);
}
