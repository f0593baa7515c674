use super::*;

fn names() -> Names<'static> {
    Names {
        char: "Mira",
        fields: [("description", "An innkeeper.")].into(),
    }
}

fn said(text: &str) -> String {
    let now: Zoned = "2026-11-03T20:05:09[Asia/Shanghai]".parse().unwrap();
    let pieces = expand(text, &names()).pieces;
    plain(
        &pieces,
        Values {
            user: "Ada",
            now: &now,
        },
    )
}

#[test]
fn names_are_put_in_whatever_the_letter_case() {
    assert_eq!(
        said("{{char}} {{CHAR}} <bot> <Char> {{group}}"),
        "Mira Mira Mira Mira Mira"
    );
    assert_eq!(
        said("{{user}} {{ User }} <USER>{{{user}}}"),
        "Ada Ada Ada{Ada}"
    );
    assert_eq!(
        said("{{description}}{{Scenario}}"),
        "An innkeeper.{{Scenario}}"
    );
}

#[test]
fn comments_vanish_and_hidden_keys_are_kept_aside() {
    let text = "a{{// b {{user}} }}{{//c}}{{comment: c}}{{noop}}{{hidden_key:d}}e";
    assert_eq!(said(text), "ae");
    assert_eq!(expand(text, &names()).hidden, ["d"]);
}

#[test]
fn what_is_no_macro_stays() {
    for text in [
        "{{unknown}}",
        "{{unknown::x::y}}",
        "{{",
        "}}",
        "{{}}",
        "<b>x</b>",
        "{ {char} }",
        "{{roll:0}}",
        "{{roll}}",
        "{{random}}",
        "a < b {",
        "{{char of me}}",
    ] {
        assert_eq!(said(text), text);
    }
    assert_eq!(said("{{getvar::{{user}}}}"), "{{getvar::Ada}}");
}

#[test]
fn original_is_a_piece_of_its_own() {
    let pieces = expand(" {{original}}\nthen {{user}}{{original}} ", &names()).pieces;
    let text = |text: &str| Piece::Text(text.to_owned());
    let expected = [
        Piece::Original,
        text("\nthen "),
        Piece::User,
        Piece::Original,
    ];
    assert_eq!(pieces, expected);
}

#[test]
fn draws_stay_within_their_options() {
    for _ in 0..50 {
        for (text, options) in [
            (r"{{random:a,b\,c}}", ["a", "b,c"]),
            ("{{random::a::b,c}}", ["a", "b,c"]),
            ("{{random: a , b,c }}", ["a", "b"]),
            ("{{random a::b}}", ["a", "b"]),
            ("{{ RANDOM ::{{user}}::<BOT>}}", ["Ada", "Mira"]),
            ("{{pick::x::y}}", ["x", "y"]),
            ("{{random::{{random::p::q}}::p}}", ["p", "q"]),
        ] {
            let said = said(text);
            let third = said == "c" && text.contains("b,c }");
            assert!(options.contains(&said.as_str()) || third, "{text}: {said}");
        }
    }
    assert_eq!(said("{{pick::a,b,c}}"), said("{{pick::a,b,c}}"));
    assert_eq!(said("{{reverse:龙b}}{{reverse::{{char}}}}"), "b龙ariM");
}

#[test]
fn dice_are_rolled_as_they_are_written() {
    for (text, least, most) in [
        ("{{roll:d6}}", 1, 6),
        ("{{roll:6}}", 1, 6),
        ("{{roll:1d20}}", 1, 20),
        ("{{roll 1d20}}", 1, 20),
        ("{{roll::2D6+3}}", 5, 15),
        ("{{roll: 3d1-5 }}", -2, -2),
    ] {
        let rolled = said(text).parse::<i64>().unwrap();
        assert!((least..=most).contains(&rolled), "{text}: {rolled}");
    }
    for text in ["{{roll:99999999d6}}", "{{roll:d-1}}", "{{roll:twice}}"] {
        assert_eq!(said(text), text);
    }
}

#[test]
fn white_space_is_put_in_and_taken_out() {
    assert_eq!(
        said("a{{newline}}b{{newline::2}}c{{space::2}}d"),
        "a\nb\n\nc  d"
    );
    assert_eq!(said("a\n\n{{trim}}\n\nb"), "ab");
    assert_eq!(said("{{user}}\n{{trim}}\n{{user}}\n{{trim}}"), "AdaAda");
    assert_eq!(said("a{{space::9999999999}}b"), "a{{space::9999999999}}b");
}

#[test]
fn the_time_is_that_of_the_request() {
    assert_eq!(
        said("{{time}}, {{weekday}}, {{date}}"),
        "8:05 PM, Tuesday, November 3, 2026"
    );
    assert_eq!(said("{{isodate}} {{isotime}}"), "2026-11-03 20:05");
    assert_eq!(said("{{time_UTC-3}} {{time::UTC+9}}"), "9:05 AM 9:05 PM");
    assert_eq!(said("{{datetimeformat YYYY/MM}}"), "2026/11");
}

#[test]
fn a_text_of_braces_alone_takes_no_time() {
    for text in [
        "{".repeat(1 << 18),
        "{{".repeat(1 << 17) + "}}",
        "<".repeat(1 << 18),
    ] {
        assert_eq!(said(&text), text);
    }
    let nested = "{{random::".repeat(10_000) + &"}}".repeat(10_000);
    assert!(!expand(&nested, &names()).pieces.is_empty());
}

#[test]
fn a_field_does_not_quote_itself() {
    let names = Names {
        char: "Mira",
        fields: [
            ("description", "I am {{description}}, {{personality}}."),
            ("personality", "{{description}} and calm"),
        ]
        .into(),
    };
    assert_eq!(
        standing(&expand("{{description}}", &names).pieces),
        "I am {{description}}, {{description}} and calm."
    );
}

#[test]
fn macros_within_one_another_cost_what_can_be_borne() {
    let many = |text: &str| text.repeat(2000);
    let (description, personality, scenario) = (
        many("{{personality}}"),
        many("{{scenario}}"),
        many("{{char}} {{newline::1000}} {{roll:1000d6}} {{reverse:{{char}}}}"),
    );
    let names = Names {
        char: "Mira",
        fields: [
            ("description", &*description),
            ("personality", &*personality),
            ("scenario", &*scenario),
        ]
        .into(),
    };
    let expanded = expand("{{description}}", &names);
    assert!(standing(&expanded.pieces).len() < 3 * MOST_WORK);
}
