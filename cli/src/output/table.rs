//! Text tables as `kubectl` prints them: columns padded to their widest cell, three spaces between, no borders.

/// Spaces between two columns.
const GAP: usize = 3;

/// A table in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with headings, which are shown in upper case.
    pub(crate) fn new<S: AsRef<str>>(header: impl IntoIterator<Item = S>) -> Self {
        Self {
            header: header.into_iter().map(|h| h.as_ref().to_uppercase()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells that are missing are empty, control characters are made harmless.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows
            .push(cells.into_iter().map(|cell| harmless(cell.into())).collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, with or without the headings.
    pub(crate) fn render(&self, with_header: bool) -> String {
        let widths = self.widths();
        let header = with_header.then_some(&self.header);
        header
            .into_iter()
            .chain(&self.rows)
            .map(|cells| line(cells, &widths))
            .collect()
    }

    /// The widths that cells are padded to.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let columns = self
            .rows
            .iter()
            .map(Vec::len)
            .chain([self.header.len()])
            .max()
            .unwrap_or(0);
        let cell_width = |cells: &Vec<String>, column: usize| cells.get(column).map_or(0, |c| c.chars().count());
        (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .chain([&self.header])
                    .map(|cells| cell_width(cells, column))
                    .max()
                    .unwrap_or(0)
            })
            .collect()
    }

    /// The last row's text, padded to widths that were found before, so that a watched table stays aligned.
    pub(crate) fn render_last(&self, widths: &[usize]) -> String {
        self.rows.last().map(|cells| line(cells, widths)).unwrap_or_default()
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (column, cell) in cells.iter().enumerate() {
        text.push_str(cell);
        let width = widths.get(column).copied().unwrap_or(0);
        let padding = width.saturating_sub(cell.chars().count()) + GAP;
        text.extend(std::iter::repeat_n(' ', padding));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Cells may hold what a stranger wrote; a terminal must not act on it.
pub(crate) fn harmless(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c == '\n' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn aligned() {
        let mut table = Table::new(["Name", "Ready", "Age"]);
        table.row(["hello-5d9c", "1/1", "3m12s"]);
        table.row(["a", "0/1", ""]);
        table.row(["größe", "10/10", "5d"]);
        expect![[r#"
            NAME         READY   AGE
            hello-5d9c   1/1     3m12s
            a            0/1
            größe        10/10   5d
        "#]]
        .assert_eq(&table.render(true));
        assert_eq!(table.render(false).lines().count(), 3);
    }

    #[test]
    fn control_characters_do_nothing() {
        let mut table = Table::new(["Message"]);
        table.row(["a\u{1b}[31mred\nline"]);
        assert_eq!(table.render(false), "a[31mred line\n");
    }
}
