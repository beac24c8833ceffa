//! Tables for people: as wide as the terminal, with colours where there is one.

use comfy_table::{ContentArrangement, Table, presets};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
const GAP: usize = 2;

/// No column is made narrower for the terminal's sake.
const NARROWEST: usize = 8;

/// How a row is shown where colours are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// In use.
    Busy,
    /// Not now.
    Resting,
    /// Not before somebody has looked after it.
    Bad,
}

impl Tone {
    /// The code of the colour, as terminals have it.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Busy => Some("33"),
            Self::Resting => Some("36"),
            Self::Bad => Some("31"),
        }
    }
}

/// The lines of a table. Where there is a `width`, what does not fit is cut, the widest columns first, and `…` says so.
pub(crate) fn lines<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    width: Option<usize>,
) -> Vec<String> {
    // A remark may have several lines; a row has one.
    let mut rows: Vec<_> =
        rows.into_iter().map(|row| row.map(|cell| cell.replace(char::is_control, " "))).collect::<Vec<_>>();
    if let Some(width) = width {
        let mut widths = header.map(str::width);
        for row in &rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = cell.width().max(*widest);
            }
        }
        fit(&mut widths, width);
        for row in &mut rows {
            for (cell, width) in row.iter_mut().zip(widths) {
                cut(cell, width);
            }
        }
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, u16::try_from(GAP).unwrap_or_default()));
    }
    table.trim_fmt().lines().map(str::to_owned).collect()
}

/// The same line in the colour of its row.
pub(crate) fn coloured(line: &str, tone: Tone) -> String {
    tone.code().map_or_else(|| line.to_owned(), |code| format!("\u{1b}[{code}m{line}\u{1b}[0m"))
}

/// Takes from the widest columns until all fit, or none is to be narrower.
fn fit(widths: &mut [usize], width: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else { return };
        *widest -= 1;
    }
}

fn cut(cell: &mut String, width: usize) {
    if cell.width() <= width {
        return;
    }
    let (mut end, mut taken) = (0, 1);
    for (at, character) in cell.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > width {
            break;
        }
        end = at + character.len_utf8();
    }
    cell.truncate(end);
    cell.push('…');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 2]) -> [String; 2] {
        cells.map(str::to_owned)
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let rows = [row(["qa-7", "two\nlines\u{1b}[31m"])];
        assert_eq!(lines(["LOGIN", "NOTE"], rows, None), ["LOGIN  NOTE", "qa-7   two lines [31m"]);
    }

    #[test]
    fn table_is_as_wide_as_the_terminal_and_says_what_was_cut() {
        let rows = || [row(["qa-7", "role=admin plan=pro team=checkout"]), row(["qa-8", "日本語のラベルです"])];
        let table = lines(["LOGIN", "LABELS"], rows(), Some(24));
        assert_eq!(table, ["LOGIN  LABELS", "qa-7   role=admin plan=…", "qa-8   日本語のラベルで…"]);
        assert_eq!(lines(["LOGIN", "LABELS"], rows(), Some(1))[1], "qa-7   role=ad…", "it stays readable");
        assert_eq!(lines(["LOGIN", "LABELS"], rows(), None)[1], "qa-7   role=admin plan=pro team=checkout");
    }

    #[test]
    fn colours_stand_around_the_line() {
        assert_eq!(coloured("qa-7  leased", Tone::Busy), "\u{1b}[33mqa-7  leased\u{1b}[0m");
        assert_eq!(coloured("qa-7  free", Tone::Plain), "qa-7  free");
    }
}
