//! The names that models give to tools: some write what their template puts around a name into the
//! name.

/// What stands before a name: the group of tools that templates know by themselves.
const GROUPS: [&str; 10] = [
    "functions.",
    "functions::",
    "functions:",
    "function.",
    "tools.",
    "tool.",
    "default_api.",
    "default_api:",
    "default.",
    "namespace.",
];

/// The name without what is known to stand around it.
pub fn bare(name: &str) -> &str {
    let mut name = name;
    // Harmony: `assistant<|channel|>commentary to=functions.NAME<|constrain|>json`.
    if let Some((_, to)) = name.rsplit_once("to=") {
        name = to;
    }
    while let Some((_, rest)) = name.strip_prefix("<|").and_then(|it| it.split_once("|>")) {
        name = rest;
    }
    name = name.split_once("<|").map_or(name, |(name, _)| name);
    name = name.trim_matches(is_around);
    for group in GROUPS {
        if let Some(rest) = name.strip_prefix(group) {
            name = rest;
            break;
        }
    }
    name = name.strip_suffix("()").unwrap_or(name);
    // Kimi counts its calls in their names.
    if let Some((rest, number)) = name.rsplit_once(':')
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        name = rest;
    }
    name.trim_matches(is_around)
}

/// Whether `name` may be the beginning of what stands before a name.
pub fn may_begin_group(name: &str) -> bool {
    let name = name.trim_start_matches(is_around);
    name.starts_with('<') || GROUPS.iter().any(|group| group.starts_with(name))
}

fn is_around(char: char) -> bool {
    char.is_whitespace() || matches!(char, '"' | '\'' | '`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_templates_put_around_a_name_is_none_of_it() {
        for name in [
            "calculator",
            " calculator ",
            "\"calculator\"",
            "functions.calculator",
            "functions.calculator:0",
            "calculator:12",
            "default_api.calculator",
            "default_api:calculator",
            "calculator<|channel|>commentary",
            "calculator<|constrain|>json",
            "<|channel|>calculator",
            "assistant<|channel|>commentary to=functions.calculator<|constrain|>json",
            "tools.calculator()",
        ] {
            assert_eq!(bare(name), "calculator", "{name}");
        }
        for name in ["my.calculator", "calculator:x", "a_tool.b"] {
            assert_eq!(bare(name), name);
        }
        assert_eq!(bare(""), "");
    }
}
