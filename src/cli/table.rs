//! Plain tables: aligned columns without rules, that fit the terminal.

use super::{Output, error::printable};

const GAP: &str = "  ";

/// How a cell stands out on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Paint {
    /// Not at all.
    #[default]
    None,
    /// Good.
    Green,
    /// Under way, or worth a look.
    Yellow,
    /// Bad.
    Red,
    /// Over.
    Dim,
}

impl Paint {
    /// Wraps text in the colour, when colours are wanted.
    pub(super) fn on(self, text: &str, colour: bool) -> String {
        let code = match self {
            _ if !colour => return text.to_owned(),
            Paint::None => return text.to_owned(),
            Paint::Green => "32",
            Paint::Yellow => "33",
            Paint::Red => "31",
            Paint::Dim => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell with a colour.
    pub(super) fn painted(text: impl AsRef<str>, paint: Paint) -> Self {
        Self { text: printable(text.as_ref()), paint }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::painted(text, Paint::None)
    }
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    /// May be cut down to this many characters when the terminal is narrow; equal to `usize::MAX`: never cut.
    least: usize,
}

impl Column {
    /// A column that is never cut.
    pub(super) const fn whole(title: &'static str) -> Self {
        Self { title, least: usize::MAX }
    }

    /// A column that may be cut, not below `least` characters.
    pub(super) const fn cut(title: &'static str, least: usize) -> Self {
        Self { title, least }
    }
}

/// Renders rows under their titles. Too wide for the terminal: the columns that may be are cut, widest first. Nothing is cut
/// when the output is not a terminal.
pub(super) fn render(columns: &[Column], rows: &[Vec<Cell>], output: &Output) -> String {
    layout(columns, rows, output.width(), output.colour())
}

fn layout(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>, colour: bool) -> String {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    if let Some(limit) = width {
        narrow(&mut widths, columns, limit);
    }
    let titles: Vec<Cell> = columns.iter().map(|column| Cell::painted(column.title, Paint::Dim)).collect();
    let lines = std::iter::once(&titles).chain(rows).map(|row| line(row, &widths, colour));
    lines.collect::<Vec<_>>().join("\n")
}

fn narrow(widths: &mut [usize], columns: &[Column], limit: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > limit {
        let cuttable = widths.iter_mut().zip(columns).filter(|(width, column)| **width > column.least);
        let Some((widest, _)) = cuttable.max_by_key(|(width, _)| **width) else { return };
        *widest -= 1;
    }
}

fn line(row: &[Cell], widths: &[usize], colour: bool) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for (cell, width) in row.iter().zip(widths) {
        let text = shorten(&cell.text, *width);
        if !text.is_empty() {
            line.push_str(&" ".repeat(owed));
            owed = 0;
            line.push_str(&cell.paint.on(&text, colour));
        }
        owed += GAP.len() + width.saturating_sub(text.chars().count());
    }
    line
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Renders facts as aligned `name  value` lines; empty values are left out.
pub(super) fn facts(rows: &[(&str, String)]) -> String {
    let shown: Vec<_> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines = shown.iter().map(|(name, value)| format!("{name:<width$}{GAP}{}", printable(value)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::whole("LEASE"), Column::cut("ROLE", 5), Column::whole("STATE")];

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["abc".into(), "orders-read-only".into(), Cell::painted("active", Paint::Green)],
            vec!["abcdefgh".into(), "r".into(), "ending".into()],
            vec!["".into(), "r".into(), "".into()],
        ]
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        assert_eq!(
            layout(&COLUMNS, &rows(), None, false),
            "LEASE     ROLE              STATE\nabc       orders-read-only  active\nabcdefgh  r                 ending\n          r"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_only_what_may_be_cut() {
        assert_eq!(
            layout(&COLUMNS, &rows(), Some(26), false),
            "LEASE     ROLE      STATE\nabc       orders-…  active\nabcdefgh  r         ending\n          r"
        );
        let narrowest = layout(&COLUMNS, &rows(), Some(1), false);
        assert!(narrowest.contains("orde…"), "{narrowest}");
    }

    #[test]
    fn colour_does_not_disturb_the_alignment() {
        let coloured = layout(&COLUMNS, &rows(), None, true);
        assert!(coloured.contains("\u{1b}[32mactive\u{1b}[0m"), "{coloured}");
        let bare = coloured.replace("\u{1b}[32m", "").replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
        assert_eq!(bare, layout(&COLUMNS, &rows(), None, false));
    }

    #[test]
    fn foreign_control_characters_do_not_reach_the_terminal() {
        assert_eq!(
            facts(&[("activity", "a\u{1b}]0;b\n".into()), ("none", String::new())]),
            "activity  a ]0;b "
        );
    }
}
