//! “yesterday”, “last week”, “three days ago”, “上周”: times that are named by today's.

use std::sync::LazyLock;

use super::moments::Named;
use super::phrases::Phrases;

/// What names a time, folded, and the time.
const PHRASES: &[(Named, &[&str])] = &[
    (
        Named::DaysAgo(0),
        &[
            "today",
            "heute",
            "hoy",
            "aujourd'hui",
            "oggi",
            "hoje",
            "vandaag",
            "dzisiaj",
            "bugun",
            "hom nay",
            "сегодня",
            "اليوم",
            "היום",
            "आज",
            "今天",
            "今日",
            "오늘",
            "วันนี้",
        ],
    ),
    (
        Named::DaysAgo(1),
        &[
            "yesterday",
            "last night",
            "gestern",
            "ayer",
            "hier",
            "ieri",
            "ontem",
            "gisteren",
            "wczoraj",
            "dun",
            "hom qua",
            "вчера",
            "امس",
            "אתמול",
            "कल",
            "昨天",
            "昨晚",
            "昨日",
            "어제",
            "เมื่อวาน",
        ],
    ),
    (
        Named::DaysAgo(2),
        &[
            "day before yesterday",
            "vorgestern",
            "anteayer",
            "avant-hier",
            "anteontem",
            "przedwczoraj",
            "позавчера",
            "前天",
            "一昨日",
            "おととい",
            "그저께",
        ],
    ),
    (
        Named::WeeksAgo(0),
        &[
            "this week",
            "diese woche",
            "dieser woche",
            "esta semana",
            "cette semaine",
            "questa settimana",
            "этой неделе",
            "这周",
            "这星期",
            "这个星期",
            "本周",
            "今週",
            "이번 주",
        ],
    ),
    (
        Named::WeeksAgo(1),
        &[
            "last week",
            "previous week",
            "letzte woche",
            "letzter woche",
            "semana pasada",
            "semaine derniere",
            "settimana scorsa",
            "semana passada",
            "vorige week",
            "zeszlym tygodniu",
            "gecen hafta",
            "tuan truoc",
            "прошлой неделе",
            "الاسبوع الماضي",
            "שבוע שעבר",
            "पिछले हफ्ते",
            "上周",
            "上星期",
            "上个星期",
            "上礼拜",
            "先週",
            "지난주",
            "สัปดาห์ที่แล้ว",
            "อาทิตย์ที่แล้ว",
        ],
    ),
    (
        Named::MonthsAgo(0),
        &[
            "this month",
            "diesen monat",
            "este mes",
            "ce mois",
            "этом месяце",
            "这个月",
            "本月",
            "今月",
        ],
    ),
    (
        Named::MonthsAgo(1),
        &[
            "last month",
            "letzten monat",
            "mes pasado",
            "mois dernier",
            "mese scorso",
            "mes passado",
            "прошлом месяце",
            "上个月",
            "上月",
            "先月",
            "지난달",
        ],
    ),
    (
        Named::YearsAgo(1),
        &[
            "last year",
            "letztes jahr",
            "ano pasado",
            "annee derniere",
            "anno scorso",
            "ano passado",
            "прошлом году",
            "去年",
            "昨年",
            "작년",
        ],
    ),
    (
        Named::Latest,
        &[
            "the latest",
            "most recent",
            "most recently",
            "last time",
            "recently",
            "lately",
            "letztes mal",
            "ultima vez",
            "derniere fois",
            "последнее время",
            "в прошлый раз",
            "上次",
            "最近",
            "最新",
            "前回",
            "최근",
        ],
    ),
];

static WEEKDAYS: [[&str; 3]; 7] = [
    ["monday", "周一", "星期一"],
    ["tuesday", "周二", "星期二"],
    ["wednesday", "周三", "星期三"],
    ["thursday", "周四", "星期四"],
    ["friday", "周五", "星期五"],
    ["saturday", "周六", "星期六"],
    ["sunday", "周日", "星期日"],
];

const NUMBERS: [[&str; 2]; 10] = [
    ["one", "一"],
    ["two", "两"],
    ["three", "三"],
    ["four", "四"],
    ["five", "五"],
    ["six", "六"],
    ["seven", "七"],
    ["eight", "八"],
    ["nine", "九"],
    ["ten", "十"],
];

/// Makes a time of how long ago it is.
type Ago = fn(i32) -> Named;

/// Units behind which “ago” stands, with the time of one of them.
const UNITS: [(&str, Ago); 9] = [
    (" day ago", Named::DaysAgo),
    (" days ago", Named::DaysAgo),
    (" week ago", Named::WeeksAgo),
    (" weeks ago", Named::WeeksAgo),
    (" month ago", Named::MonthsAgo),
    (" months ago", Named::MonthsAgo),
    ("天前", Named::DaysAgo),
    ("周前", Named::WeeksAgo),
    ("个月前", Named::MonthsAgo),
];

/// Each phrase, with its time.
fn times() -> impl Iterator<Item = (&'static str, Named)> {
    let times = PHRASES.iter();
    let times = times.flat_map(|(time, phrases)| phrases.iter().map(|phrase| (*phrase, *time)));
    let days = (0..).zip(&WEEKDAYS);
    let days = days.flat_map(|(day, names)| names.iter().map(move |it| (*it, Named::Weekday(day))));
    times.chain(days)
}

static FOUND: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(times().map(|(phrase, _)| phrase), false));

/// The times that a folded text names.
pub fn named_in(folded: &str) -> Vec<Named> {
    let mut named = Vec::new();
    let mut add = |new: Named| {
        if !named.contains(&new) {
            named.push(new);
        }
    };
    for number in FOUND.whole(folded) {
        let time = times().nth(number);
        time.into_iter().for_each(|(_, time)| add(time));
    }
    if !folded.contains(['前', 'g']) {
        return named;
    }
    for (unit, time) in UNITS {
        for (at, _) in folded.match_indices(unit) {
            if let Some(count) = number_at_end(&folded[..at]) {
                add(time(count));
            }
        }
    }
    named
}

fn number_at_end(text: &str) -> Option<i32> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_digit());
    if digits.len() < text.len() {
        let number = text[digits.len()..].parse().ok();
        return number.filter(|number| *number < 1000);
    }
    let by_name = (1..).zip(NUMBERS);
    let mut by_name = by_name.filter(|(_, names)| names.iter().any(|name| text.ends_with(name)));
    by_name.next().map(|(number, _)| number).or_else(|| {
        let is_one = text == "a" || text.ends_with(" a");
        is_one.then_some(1)
    })
}

#[cfg(test)]
mod tests {
    use super::super::fold::fold;
    use super::*;

    #[test]
    fn times_are_read_as_people_name_them() {
        for (text, expected) in [
            (
                "What did we talk about last week?",
                vec![Named::WeeksAgo(1)],
            ),
            ("我们上周聊了什么", vec![Named::WeeksAgo(1)]),
            ("我們上個星期聊了什麼", vec![Named::WeeksAgo(1)]),
            ("What did I say yesterday", vec![Named::DaysAgo(1)]),
            ("yesterdays", vec![]),
            ("three days ago", vec![Named::DaysAgo(3)]),
            ("a week ago", vec![Named::WeeksAgo(1)]),
            ("3天前", vec![Named::DaysAgo(3)]),
            ("两个月前", vec![Named::MonthsAgo(2)]),
            ("on Monday", vec![Named::Weekday(0)]),
            ("qué dije ayer", vec![Named::DaysAgo(1)]),
            ("Что я говорил вчера?", vec![Named::DaysAgo(1)]),
            ("What is the latest?", vec![Named::Latest]),
        ] {
            assert_eq!(named_in(&fold(text)), expected, "{text}");
        }
    }
}
