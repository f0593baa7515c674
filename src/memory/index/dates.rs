//! Dates as people write them, in English ("May 3, 2023", "3rd of May", "May 2023", "2023-05-03",
//! "5/3/2023", "5/3/23"), Chinese ("2023年5月3日", "5月3号", "五月三号", "5月"), Korean, and with the names that
//! months have in other languages of Europe ("4. März", "4 de marzo de 2025").

use super::months;

/// A date as far as a text names it; at least one part is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartialDate {
    pub year: Option<u16>,
    pub month: Option<u8>,
    pub day: Option<u8>,
}

/// A piece of a text that may belong to a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Number(u32),
    /// An English month's name; whether it is written with a capital tells May from may.
    Month(u8),
    /// One in another language, which is one beside a number.
    OtherMonth(u8),
    /// 年, 月, 日 or 号, or the dash, slash or dot of a numeric date.
    Mark(char),
    /// "of", "the": skipped between the parts of a date.
    Filler,
    Other,
}

/// The dates that a text names.
pub fn dates_in(text: &str) -> Vec<PartialDate> {
    let pieces = pieces(text);
    let mut dates = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        match date_at(&pieces[at..]) {
            Some((date, taken)) => {
                dates.push(date);
                dates.extend(turned(date, &pieces[at..at + taken]));
                at += taken;
            }
            None => at += 1,
        }
    }
    dates
}

/// The same date with day and month the other way round, where it may be meant so.
fn turned(date: PartialDate, pieces: &[Piece]) -> Option<PartialDate> {
    let (day, month) = (date.day?, date.month?);
    let is_turned = matches!(
        pieces,
        [
            Piece::Number(..=31),
            Piece::Mark('/' | '.'),
            Piece::Number(_),
            ..
        ]
    );
    (is_turned && day <= 12 && day != month).then_some(PartialDate {
        day: Some(month),
        month: Some(day),
        ..date
    })
}

fn date_at(p: &[Piece]) -> Option<(PartialDate, usize)> {
    use Piece::{Mark, Number};
    let day_mark = |p: Option<&Piece>| matches!(p, Some(Mark('日' | '号' | '號')));
    match *p {
        [Number(y), Mark('年'), Number(m), Mark('月'), Number(d), ..] => {
            found(Some(y), m, Some(d), 5 + usize::from(day_mark(p.get(5))))
        }
        [Number(y), Mark('年'), Number(m), Mark('月'), ..] => found(Some(y), m, None, 4),
        [Number(m), Mark('月'), Number(d), ..] => {
            found(None, m, Some(d), 3 + usize::from(day_mark(p.get(3))))
        }
        [Number(m), Mark('月'), ..] => found(None, m, None, 2),
        [Number(y), Mark(a), Number(m), Mark(b), Number(d), ..] if a == b && y >= 1000 => {
            found(Some(y), m, Some(d), 5)
        }
        // Half of the world writes the month first, so that both are meant where both may be.
        [Number(a), Mark(x), Number(b), Mark(z), Number(y), ..] if x == z && y >= 1000 => {
            let (day, month) = if b > 12 { (b, a) } else { (a, b) };
            found(Some(y), month, Some(day), 5)
        }
        // Two digits are a year where the others can be no version.
        [
            Number(a),
            Mark(x),
            Number(b),
            Mark(z),
            Number(y @ 20..=39),
            ..,
        ] if x == z && matches!(x, '/' | '.') && (1..=31).contains(&a) && (1..=31).contains(&b) => {
            let (day, month) = if b > 12 { (b, a) } else { (a, b) };
            found(Some(2000 + y), month, Some(day), 5)
        }
        _ => by_name(p),
    }
}

/// A date of these parts, and how many pieces it took.
fn found(
    year: Option<u32>,
    month: u32,
    day: Option<u32>,
    taken: usize,
) -> Option<(PartialDate, usize)> {
    let date = PartialDate {
        year: match year {
            Some(year) => Some(valid_year(year)?),
            None => None,
        },
        month: Some(in_range(month, 12)?),
        day: match day {
            Some(day) => Some(in_range(day, 31)?),
            None => None,
        },
    };
    Some((date, taken))
}

/// A date whose month is named.
fn by_name(p: &[Piece]) -> Option<(PartialDate, usize)> {
    use Piece::{Mark, Month, Number, OtherMonth};
    match *p {
        [Month(m), Number(d), Number(y), ..] if valid_year(y).is_some() => {
            found(Some(y), m.into(), Some(d), 3)
        }
        [Month(m), Number(y), ..] if valid_year(y).is_some() => found(Some(y), m.into(), None, 2),
        [Month(m), Number(d), ..] => found(None, m.into(), Some(d), 2),
        [Number(d), Month(m), Number(y), ..] if valid_year(y).is_some() => {
            found(Some(y), m.into(), Some(d), 3)
        }
        [Number(d), Month(m), ..] => found(None, m.into(), Some(d), 2),
        [
            Number(d),
            Mark('.'),
            Month(m) | OtherMonth(m),
            Number(y),
            ..,
        ] if valid_year(y).is_some() => found(Some(y), m.into(), Some(d), 4),
        [Number(d), Mark('.'), Month(m) | OtherMonth(m), ..] => found(None, m.into(), Some(d), 3),
        [Number(d), OtherMonth(m), Number(y), ..] if valid_year(y).is_some() => {
            found(Some(y), m.into(), Some(d), 3)
        }
        [Number(d), OtherMonth(m), ..] => found(None, m.into(), Some(d), 2),
        [OtherMonth(m), Number(y), ..] if valid_year(y).is_some() => {
            found(Some(y), m.into(), None, 2)
        }
        [OtherMonth(m), Number(d), Number(y), ..] if valid_year(y).is_some() => {
            found(Some(y), m.into(), Some(d), 3)
        }
        [OtherMonth(m), Number(d), ..] => found(None, m.into(), Some(d), 2),
        [Month(m), ..] => found(None, m.into(), None, 1),
        _ => None,
    }
}

fn valid_year(year: u32) -> Option<u16> {
    (1000..=9999).contains(&year).then_some(year as u16)
}

fn in_range(value: u32, most: u32) -> Option<u8> {
    (1..=most).contains(&value).then_some(value as u8)
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if c.is_ascii_digit() {
            let length = run(rest, |c| c.is_ascii_digit());
            pieces.push(rest[..length].parse().map_or(Piece::Other, Piece::Number));
            // 3rd, 21st, 1er
            length
                + ["st", "nd", "rd", "th", "er", "º"]
                    .iter()
                    .find(|s| rest[length..].starts_with(**s))
                    .map_or(0, |s| s.len())
        } else if let Some((number, length)) = chinese(rest) {
            pieces.push(Piece::Number(number));
            length
        } else if months::is_letter(c) {
            let length = run(rest, months::is_letter);
            match month(&rest[..length]) {
                Piece::Filler => {}
                piece => pieces.push(piece),
            }
            length
        } else {
            match c {
                '년' => pieces.push(Piece::Mark('年')),
                '월' => pieces.push(Piece::Mark('月')),
                '일' => pieces.push(Piece::Mark('日')),
                '年' | '月' | '日' | '号' | '號' | '-' | '/' | '.' => {
                    pieces.push(Piece::Mark(c));
                }
                ',' | ' ' => {}
                _ => pieces.push(Piece::Other),
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    pieces
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// A number in Chinese digits before a mark of a date, and its bytes: 三月, 二十一号, 二〇二五年.
fn chinese(text: &str) -> Option<(u32, usize)> {
    const DIGITS: [char; 10] = ['〇', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
    let digit = |c: char| match c {
        '零' => Some(0),
        c => DIGITS.iter().position(|it| *it == c),
    };
    let first = text.chars().next()?;
    if first != '十' && digit(first).is_none() {
        return None;
    }
    let length = run(text, |c| c == '十' || digit(c).is_some());
    let (number, behind) = text.split_at(length);
    if !behind.starts_with(['年', '月', '日', '号', '號']) || number.len() > 12 {
        return None;
    }
    let plain = |text: &str| {
        let mut digits = text.chars().filter_map(digit);
        digits.try_fold(0u32, |sum, digit| Some(sum * 10 + digit as u32))
    };
    let value = match number.split_once('十') {
        None => plain(number)?,
        Some((tens, ones)) => {
            let tens = if tens.is_empty() { 1 } else { plain(tens)? };
            tens * 10 + plain(ones)?
        }
    };
    Some((value, length))
}

fn month(word: &str) -> Piece {
    match english(word) {
        Piece::Other => match months::named(word) {
            Some(month) => Piece::OtherMonth(month),
            None if months::is_filler(word) => Piece::Filler,
            None => Piece::Other,
        },
        known => known,
    }
}

fn english(word: &str) -> Piece {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if word.eq_ignore_ascii_case("of") || word.eq_ignore_ascii_case("the") {
        return Piece::Filler;
    }
    if word.len() < 3 || !word.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Piece::Other;
    }
    let word = word.to_ascii_lowercase();
    let short = |month: &str| word == month[..3] || (word == "sept" && month == "september");
    MONTHS
        .iter()
        .position(|month| word == *month || short(month))
        .map_or(Piece::Other, |at| Piece::Month(at as u8 + 1))
}
