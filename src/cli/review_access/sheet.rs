//! Accesses as comma-separated values (RFC 4180), for a spreadsheet and back.
//!
//! A cell that a spreadsheet would take for a formula begins with an apostrophe, which reading takes off again. What a spreadsheet
//! saves is read with commas, semicolons or tabs, with or without a byte order mark.

use super::{
    super::view,
    view::{holds, obtains},
};
use crate::api::proto;

/// What is at the top of the columns.
const COLUMNS: [&str; 21] = [
    "decision",
    "comment",
    "principal",
    "kind",
    "role",
    "target",
    "obtains",
    "given",
    "by",
    "break_glass_by",
    "holds",
    "uses",
    "last_use",
    "last_allowed_by",
    "evidence",
    "known_by",
    "locks",
    "certified_by",
    "certified_at",
    "changed_since_certified",
    "etag",
];

/// What a spreadsheet takes for the beginning of a formula, or drops; and what marks that it is none.
const GUARDED: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

/// A line of a sheet, as far as it decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) decision: String,
    pub(super) comment: String,
    pub(super) principal: String,
    pub(super) role: String,
    pub(super) etag: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) what: String,
}

/// The sheet of accesses.
pub(super) fn write(items: &[proto::AccessItem]) -> String {
    let mut sheet = line(&COLUMNS.map(str::to_owned));
    for item in items {
        sheet.push_str(&line(&cells(item)));
    }
    sheet
}

fn cells(item: &proto::AccessItem) -> [String; 21] {
    let moment = |at| view::moment(at).map(|at| at.to_string()).unwrap_or_default();
    [
        String::new(),
        String::new(),
        item.principal.clone(),
        view::kind_word(item.principal_kind()),
        view::bare(&item.role).to_owned(),
        view::bare(&item.target).to_owned(),
        obtains(item),
        item.reach_given.clone(),
        item.reach_by.clone(),
        item.break_glass_by.clone(),
        holds(item),
        item.uses.to_string(),
        moment(item.last_use_time),
        item.last_allowed_by.clone(),
        item.evidence.join(" "),
        item.known_by.join("; "),
        item.locks.join(" "),
        item.certified_by.clone(),
        moment(item.certify_time),
        if item.changed_since_certified { "yes" } else { "" }.to_owned(),
        item.etag.clone(),
    ]
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    cells.join(",") + "\r\n"
}

/// A cell that stays text.
fn quoted(text: &str) -> String {
    let guarded = if text.starts_with(GUARDED) { format!("'{text}") } else { text.to_owned() };
    let special = [',', ';', '"', '\n', '\r', '\t'];
    if guarded.contains(special) || guarded.trim() != guarded {
        return format!("\"{}\"", guarded.replace('"', "\"\""));
    }
    guarded
}

/// The text of a cell.
fn plain(cell: &str) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(GUARDED) => rest.to_owned(),
        _ => cell.to_owned(),
    }
}

/// Reads a sheet: its columns are found by their names, in whichever order.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Row>, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = records(text).map_err(|problem| vec![problem])?.into_iter();
    let one = |line, what: &str| vec![Problem { line, what: what.to_owned() }];
    let (line, titles) = records.next().ok_or_else(|| one(1, "the sheet is empty"))?;
    let place = |name: &str| titles.iter().position(|title| title.trim().eq_ignore_ascii_case(name));
    let needed = |name: &str| place(name).ok_or_else(|| one(line, &format!("there is no column `{name}`")));
    let (decision, principal, role) = (needed("decision")?, needed("principal")?, needed("role")?);
    let (comment, etag) = (place("comment"), place("etag"));
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (line, cells) in records {
        if cells.len() != titles.len() {
            let what = format!("has {} cells, and there are {} columns", cells.len(), titles.len());
            problems.push(Problem { line, what });
            continue;
        }
        let cell = |place: usize| cells.get(place).map(|cell| plain(cell)).unwrap_or_default();
        rows.push(Row {
            line,
            decision: cell(decision),
            comment: comment.map(cell).unwrap_or_default(),
            principal: cell(principal),
            role: cell(role),
            etag: etag.map(cell).unwrap_or_default(),
        });
    }
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

/// What stands between cells: what there is most of in the first line.
fn separator(text: &str) -> char {
    let first = text.lines().next().unwrap_or_default();
    let many = |separator: &char| first.matches(*separator).count();
    // Of several that are equal the last wins, which is the comma.
    ['\t', ';', ','].into_iter().max_by_key(many).unwrap_or(',')
}

/// Where a record begins, and its cells.
type Record = (usize, Vec<String>);

/// Reads records, and where they begin. Empty lines are none.
fn records(text: &str) -> Result<Vec<Record>, Problem> {
    let separator = separator(text);
    let mut reader =
        Reader { line: 1, begun: 1, cell: String::new(), cells: Vec::new(), records: Vec::new() };
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '"' if reader.cell.is_empty() => {
                let opened = reader.line;
                loop {
                    match rest.next() {
                        Some('"') if rest.next_if_eq(&'"').is_some() => reader.cell.push('"'),
                        Some('"') => break,
                        Some(inside) => {
                            reader.line += usize::from(inside == '\n');
                            reader.cell.push(inside);
                        }
                        None => {
                            return Err(Problem { line: opened, what: "a quote is never closed".to_owned() });
                        }
                    }
                }
                let ends = |next: &char| *next == separator || *next == '\n' || *next == '\r';
                if rest.peek().is_some_and(|next| !ends(next)) {
                    return Err(Problem {
                        line: reader.line,
                        what: "something follows a closing quote".to_owned(),
                    });
                }
            }
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' | '\r' => reader.end_record(),
            character if character == separator => reader.end_cell(),
            character => reader.cell.push(character),
        }
    }
    if !(reader.cell.is_empty() && reader.cells.is_empty()) {
        reader.end_record();
    }
    Ok(reader.records)
}

/// A sheet half read.
struct Reader {
    line: usize,
    begun: usize,
    cell: String,
    cells: Vec<String>,
    records: Vec<Record>,
}

impl Reader {
    fn end_cell(&mut self) {
        self.cells.push(std::mem::take(&mut self.cell));
    }

    fn end_record(&mut self) {
        if !(self.cell.is_empty() && self.cells.is_empty()) {
            self.end_cell();
            self.records.push((self.begun, std::mem::take(&mut self.cells)));
        }
        self.line += 1;
        self.begun = self.line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(principal: &str, by: &str) -> proto::AccessItem {
        proto::AccessItem {
            principal: principal.to_owned(),
            role: "roles/orders-read".to_owned(),
            target: "targets/orders".to_owned(),
            reach_by: by.to_owned(),
            etag: "00ff".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_written_is_read_back_whatever_is_in_it() {
        for by in ["a, b", "say \"yes\"", "two\nlines", "=1+1", "'=1", "'", "-", " x ", "é;\t"] {
            let sheet = write(&[item("alice", by), item("ci@example.com", by)]);
            let records = records(&sheet).unwrap();
            let place = COLUMNS.iter().position(|column| *column == "by").unwrap();
            assert_eq!(plain(&records[1].1[place]), by);
            let rows = read(&sheet).unwrap();
            assert_eq!(
                (rows[1].principal.as_str(), rows[1].role.as_str()),
                ("ci@example.com", "orders-read")
            );
            assert_eq!(rows[0].etag, "00ff");
        }
    }

    #[test]
    fn no_cell_begins_like_a_formula() {
        for hostile in ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"] {
            let cell = quoted(hostile);
            assert!(cell.trim_start_matches('"').starts_with('\''), "{cell}");
            let sheet = format!("decision,comment,principal,role\r\n,{cell},a,b\r\n");
            assert_eq!(read(&sheet).unwrap()[0].comment, hostile);
        }
    }

    #[test]
    fn what_spreadsheets_save_is_read() {
        for sheet in [
            "\u{feff}decision;principal;role;etag\r\ncertify;alice;orders-read;00ff\r\n",
            "Decision\tPrincipal\tRole\tetag\ncertify\talice\torders-read\t00ff",
            "role,etag,principal,decision\n\norders-read,00ff,alice,certify\n\n",
        ] {
            let rows = read(sheet).unwrap();
            assert_eq!(rows.len(), 1, "{sheet}");
            let Row { decision, principal, role, etag, .. } = &rows[0];
            assert_eq!(
                [decision, principal, role, etag].map(String::as_str),
                ["certify", "alice", "orders-read", "00ff"]
            );
        }
    }

    #[test]
    fn what_is_malformed_is_refused_with_its_line() {
        let head = "decision,comment,principal,role\n";
        for (sheet, line) in [
            (String::new(), 1),
            ("principal,role\n".to_owned(), 1),
            (format!("{head},,a,b\n,,a\n"), 3),
            (format!("{head},\"two\nlines\",a,b\n,,a,b,c\n"), 4),
            (format!("{head},\"never closed,a,b\n"), 2),
            (format!("{head},\"x\"y,a,b\n"), 2),
        ] {
            assert_eq!(read(&sheet).unwrap_err()[0].line, line, "{sheet:?}");
        }
    }
}
