//! Room `report`: rows of figures, aligned for a terminal or as a Markdown table.

/// Names in the first columns, figures in the others.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<String>,
    names: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table whose first `names` columns are aligned to the left, the others to the right.
    pub(super) fn new<S: Into<String>>(names: usize, header: impl IntoIterator<Item = S>) -> Self {
        let header = header.into_iter().map(Into::into).collect();
        Self { header, names, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines with aligned columns.
    pub(super) fn text(&self) -> Vec<String> {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<_> = (0..self.header.len()).map(|n| width(n).unwrap_or(0)).collect();
        let align = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column < self.names {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        lines().map(align).collect()
    }

    /// Lines of a Markdown table. The cells are Markdown already.
    pub(super) fn markdown(&self) -> Vec<String> {
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let rule: Vec<_> = (0..self.header.len())
            .map(|column| if column < self.names { "---" } else { "---:" }.to_owned())
            .collect();
        let rows = self.rows.iter().map(|row| line(row));
        [line(&self.header), line(&rule)].into_iter().chain(rows).collect()
    }
}
