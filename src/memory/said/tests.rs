use super::*;

fn said(text: &str) -> String {
    user_words(text).into_owned()
}

const RETRIEVAL: &str = "### Task:
Respond to the user query using the provided context, incorporating inline citations in the format \
[id] **only when the <source> tag includes an explicit id attribute** (e.g., <source id=\"1\">).

### Guidelines:
- If you don't know the answer, clearly state that.
- Respond in the same language as the user's query.

### Example of Citation:

If the user asks about a specific topic, the response should cite it like this:

* \"According to the study, the method is better by a fifth [1].\"

### Output:
Provide a clear and direct response to the user's query.

<context>
<source id=\"1\" name=\"lease.pdf\">The tenant pays the rent.

Question: who pays the water?
```
code that is never closed
</source>
<source id=\"2\">Pets are allowed.</source>
</context>
";

#[test]
fn what_a_retrieval_template_puts_around_is_not_said() {
    let asked = "May I keep my cat here?";
    for text in [
        format!("{RETRIEVAL}\n{asked}"),
        format!("{RETRIEVAL}\n<user_query>\n{asked}\n</user_query>\n"),
        format!(
            "Use the following context as your learned knowledge, inside <context></context> XML \
             tags.\n<context>\n    Pets are allowed.\n</context>\n\nWhen answer to user:\n- If you \
             don't know, just say that you don't know.\n\nGiven the context information, answer \
             the query.\nQuery: {asked}"
        ),
        format!(
            "The user has attached a file to the conversation:\n  <file>\n    \
             <filename>lease.pdf</filename>\n    <context>\nPets.\n    </context>\n  </file>\n\n\
             Use the context as your learned knowledge to better answer the user.\n\nIn your \
             answer, remember to follow these guidelines:\n- If you don't know the answer, simply \
             say that you don't know.\n\n{asked}"
        ),
        format!(
            "Use the following pieces of context to answer the question at the end. If you don't \
             know the answer, just say so.\n\nPets are allowed.\n\nI am the landlord.\n\n\
             Question: {asked}\nHelpful Answer:"
        ),
        format!(
            "You are an assistant for question-answering tasks. Use the following pieces of \
             retrieved context to answer the question. Use three sentences maximum.\n\
             Question: {asked} \nContext: Pets are allowed.\nQuestion marks are not. \nAnswer:"
        ),
        format!(
            "Answer the question based only on the following context:\nPets are allowed.\n\n\
             Question: {asked}\n"
        ),
        format!("Context: Pets are allowed.\n\nQuestion: {asked}"),
        format!("Context: Pets are allowed. Question: {asked}"),
        format!(
            "Context information is below.\n---------------------\nPets.\n---------------------\n\
             Given the context information and not prior knowledge, answer the query.\n\
             Query: {asked}\nAnswer: "
        ),
        format!(
            "Please answer the question based on the reference materials\n\n## Citation Rules:\n\
             - Cite with [1].\n\n## My question is:\n\n{asked}\n\n## Reference Materials:\n\n[]\n\n\
             Please respond in the same language as the user's question.\n"
        ),
        format!(
            "Context documents:\n[Document 1] Pets.\n\nQuestion: {asked}\n\nAnswer the question \
             based on the context above."
        ),
        format!(
            "Please answer the following question based on the provided context.\n\n[Context]\n\
             Pets\n\n[Question]\n{asked}\n\n[Answer]\n"
        ),
        format!(
            "{asked}\n\n<ATTACHMENT_FILE>\n<FILE_NAME>lease.txt</FILE_NAME>\n<FILE_CONTENT>\n\
             Pets.\n</FILE_CONTENT>\n</ATTACHMENT_FILE>\n"
        ),
        format!(
            "{asked}\n\n<!-- SYSTEM CONTEXT (NOT PART OF USER QUERY) -->\n<context.instruction>\
             following part contains context information</context.instruction>\n<files_info>\n\
             <files>\n<files_docstring>here are files</files_docstring>\n</files>\n</files_info>"
        ),
        format!("[CONTEXT 0]:\nPets.\n[END CONTEXT 0]\n\nQuestion: {asked}"),
    ] {
        assert_eq!(said(&text), asked, "{text}");
    }
    for (text, asked) in [
        (
            "## 参考内容\n可以养宠物\n\n## 用户问题\n我能养猫吗？",
            "我能养猫吗？",
        ),
        (
            "你是客服助手，必须严格依据下方资料回答客户问题。\n资料：\n可以养宠物\n\n\
             客户问题：我能养猫吗？\n请用80字以内回答，不要重复“资料”二字。",
            "我能养猫吗？\n请用80字以内回答，不要重复“资料”二字。",
        ),
        (
            "질문:\n고양이를 키워도 되나요?\n\n컨텍스트:\n반려동물 허용\n\n답변:",
            "고양이를 키워도 되나요?",
        ),
        (
            "Beantworte die Frage anhand des folgenden Kontexts.\n\nKontext:\nTiere erlaubt.\n\n\
             Frage: Darf ich eine Katze halten?",
            "Darf ich eine Katze halten?",
        ),
    ] {
        assert_eq!(said(text), asked);
    }
}

#[test]
fn what_a_client_says_in_the_users_place_is_not_said() {
    for text in [
        "<system-reminder>\nToday is Friday.\n</system-reminder>",
        "<environment_context>\n  <cwd>/home/ann</cwd>\n</environment_context>",
        "<user_instructions>\nBe brief.\n</user_instructions>",
        "# AGENTS.md instructions for /home/ann\n\n<INSTRUCTIONS>\nUse tabs.\n</INSTRUCTIONS>",
        "<permissions instructions>\nAsk first.\n</permissions instructions>",
        "This is the Qwen Code. We are setting up the context for our chat.\nMy system is Linux.",
    ] {
        assert_eq!(said(text), "", "{text}");
    }
    let asked = "My sister is called Ada, fix the build.";
    for text in [
        format!("<system-reminder>\nToday.\n</system-reminder>\n{asked}"),
        format!("{asked}<system-reminder>Be <b>quick</b>.</system-reminder>"),
        format!(
            "<task>\n{asked}\n</task>\n<environment_details>\n# Time\nnow\n</environment_details>"
        ),
        format!("<user_info>\nOS: linux\n</user_info>\n<user_query>\n{asked}\n</user_query>"),
        format!("<context>\nopen.rs\n</context>\n<userRequest>\n{asked}\n</userRequest>"),
        format!(
            "# Context from my IDE setup:\n\n## Open tabs:\n- a.json: my.json\n\n## My request for \
             Codex:\n{asked}\n"
        ),
        format!(
            "# Files mentioned by the user:\n\n## a.png: /tmp/a.png\n\n## My request for Codex:\n{asked}"
        ),
        format!("<command-name>/init</command-name>\n<command-args>{asked}</command-args>"),
    ] {
        assert_eq!(said(&text), asked, "{text}");
    }
}

#[test]
fn what_the_user_says_and_pastes_himself_stays() {
    for text in [
        "My cat is called Pixel.",
        "Two lines.\nAnd a question: who am I?",
        "a < b and <b>bold</b>\nand <unknown>tags</unknown>",
        "What does <context> mean?\nAnd </context>?",
        "```xml\n<context>mine</context>\n```\nWhy does it fail?",
        "Use `<source>` here\nor `<context>x</context>`",
        "Context: I'm moving to Oslo in May.\nQuestion: what should I pack?",
        "Question: what is a monad?",
        "Here is my list:\n- Context: school\n- Rules: none",
        "User: hi\nAssistant: hello\nwhy did it answer so?",
        "<?xml version=\"1.0\"?>\n<project>\n<source>1.8</source>\n</project>\nWhat is wrong?",
        "<document>\nall that I have\n</document>",
        "",
    ] {
        assert_eq!(said(text), text);
    }
    let asked = "Summarise this for my boss:";
    assert_eq!(
        said(&format!("{asked}\n<document>\nlong\n</document>")),
        asked
    );
}

#[test]
fn thinking_is_no_part_of_an_answer() {
    let answer = "You have **two** cats.";
    for thought in [
        "<think>\nTwo? Three?\n</think>\n\n",
        "<thinking>a <think>b</think> c</thinking>",
        "<Thought>x</Thought>\n",
        "<reasoning effort=\"high\">x</reasoning>",
        "◁think▷two◁/think▷",
        "[THINK]two[/THINK]",
        "<seed:think>x</seed:think>",
        "<longcat_think>x</longcat_think>",
        "<mm:think>x</mm:think>",
        "<reasoning_content>x</reasoning_content>",
        "＜think＞x＜/think＞",
        "<|thinking|>x<|/thinking|>",
        "<unused94>thought\nx<unused95>",
        "<|begin_of_thought|>\nx\n<|end_of_thought|>\n",
        "<|START_THINKING|>x<|END_THINKING|><|START_RESPONSE|>",
        "<|channel|>analysis<|message|>The user asks.<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|><|start|>assistant<|channel|>final <|constrain|>x<|message|>",
        "<|channel>thought\nThe user asks.\n<channel|>",
        "analysisThe user asks of cats.assistantfinal",
        "<details type=\"reasoning\" done=\"true\" duration=\"5\">\n<summary>Thought for 5 seconds</summary>\n> Two?\n</details>\n",
        "<details>\n<summary>💭 Thinking</summary>\nTwo?\n</details>\n\n",
        ":::thinking\nTwo?\n:::\n",
        "```think\nTwo? Three?\n```\n",
        "```thinking\nLook:\n```python\ncats()\n```\nTwo.\n```\n\n",
        "~~~reasoning\nx\n~~~\n",
        "&lt;think&gt;\nTwo?\n&lt;/think&gt;\n",
        "\\u003cthink\\u003ex\\u003c/think\\u003e",
        "<internal>\nTwo?\n</internal>\n",
        "<internal_monologue>x</internal_monologue>",
        "<inner-thoughts>x</inner-thoughts>",
        "<scratchpad>x</scratchpad>",
        "<reflection>\nIs it two?\n</reflection>\n",
        "<analysis>\nx\n</analysis>\n",
        "<planning>\nx\n</planning>\n",
        "<Think >x</ think>",
        "<|think|>x<|/think|>",
        "<thought_process>x</thought_process>",
        "<思考>两只？</思考>",
        "【思考】两只？【/思考】",
        "[thinking]two[/thinking]",
        "<start_of_thought>x<end_of_thought>",
        "<think_never_used_51bce0c785>x</think_never_used_51bce0c785>",
        "<!-- thinking: two? -->\n",
        "<details class=\"thinking\"><summary>More</summary>x</details>\n",
        "Thought: I know this.\nFinal Answer: ",
        "## Thinking\n\nTwo? Three?\n\n## Answer\n\n",
        "**Thinking:** two.\n\n**Response:** ",
        "思考：两只？\n回答：",
        // The template of the model has put the opening tag into the prompt.
        "The user asks. ```\n</think>\n\n",
    ] {
        let text = format!("{thought}{answer}");
        assert_eq!(answer_words(&text), answer, "{text}");
    }
    for cut in [
        "<think>\nTwo, or is it",
        "<thinking>",
        "<|channel|>analysis<|message|>The user",
        "<details type=\"reasoning\" done=\"false\">\n> Two",
        "◁think▷two",
    ] {
        assert_eq!(answer_words(cut), "", "{cut}");
    }
    assert_eq!(answer_words("<think>x</think><answer>41</answer>"), "41");
    for own in [
        answer,
        "Put `<think>` before it, and `</think>` behind.",
        "```xml\n<think>\nx\n</think>\n```\nis how it looks",
        "A <think> tag that nothing closes, in a sentence.",
        "[Analysis] It rises.",
        "<details>\n<summary>More</summary>\nx\n</details>",
        "analysis of the text",
        "1 < 2",
        "<rethink>x</rethink>",
        "The tags <think> and </think> stand around it.",
        "Close it with </think> and go on.",
        "Your config holds <internal>true</internal> and <planning>x</planning>.",
        "The channel `<|channel|>analysis` is for thinking.",
        "```\n<|channel|>analysis<|message|>x\n```\nis Harmony.",
        "```rust\nthink();\n```\ncalls it.",
        "[Thinking] has two meanings.\nThe first …",
        "Thinking of you: a card",
        "Answer: two.",
        "Use &lt;think&gt; for it.",
        "I think &amp; so do you",
    ] {
        assert_eq!(answer_words(own), own);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reading(
        parts in proptest::collection::vec(
            "[<>/`\n:【】◁▷&: ]{1,3}|(<|</|◁|\\[|【|&lt;|&lt;/)(think|思考|internal|context|user_query|system-reminder)|details|\
             <\\|channel\\|>|<!--|Context: |Question: |```\n|文|é",
            0..24,
        ),
    ) {
        let text = parts.concat();
        // What is read once stays as it is.
        let words = user_words(&text).into_owned();
        proptest::prop_assert!(words.len() <= text.len());
        let words = answer_words(&text).into_owned();
        proptest::prop_assert!(words.len() <= text.len());
    }
}

#[test]
fn what_an_agents_tools_gave_is_not_said() {
    for text in [
        "Observation:\nown-tool-ran",
        "Call id: call_7\nObservation:\nfive files",
        "[execute_command for 'ls'] Result:\nCommand executed.",
        "[read_file for 'notes.txt'] Result:\n\n1 | My cat is called Pixel.",
        "EXECUTION RESULT of [execute_bash]:\nfive files",
    ] {
        assert_eq!(said(text), "", "{text}");
    }
    assert_eq!(
        said("New task:\nMy cat is called Pixel.\nRemember it."),
        "My cat is called Pixel.\nRemember it."
    );
    for text in [
        "Observation: my cat sleeps\nall day.",
        "[1] is my result.\nIt took a day.",
        "New task: feed the cat.\nAt eight.",
    ] {
        assert_eq!(said(text), text);
    }
}

#[test]
fn what_a_stage_tells_the_actor_is_not_said_by_the_user() {
    for text in [
        "I grew up in Cork.\n\n[Write the next reply only as Seraphina.]",
        "[Start a new Chat]\n\nI grew up in Cork.",
        "[Start a new group chat. Group members: Ada, Mira]\nI grew up in Cork.\r\n[Example Chat]",
    ] {
        assert_eq!(said(text), "I grew up in Cork.");
    }
    let whole = "[Continue your last message without repeating its original content.]";
    assert_eq!(said(whole), "");
    for own in [
        "[citation needed]",
        "[Write me a letter] is what she said.",
        "Start a new chat",
        "- [ ] start a new chat\n- [x] done",
    ] {
        assert_eq!(said(own), own);
    }
}
