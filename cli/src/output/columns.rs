//! Tables of the user's own columns: `custom-columns=NAME:.metadata.name,NODE:.spec.nodeName`.

use std::str::FromStr;

use crate::object::Object;
use crate::output::jsonpath::JsonPath;
use crate::output::table::Table;

/// Headings with the paths of their cells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CustomColumns(Vec<(String, JsonPath)>);

impl FromStr for CustomColumns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let column = |part: &str| {
            let (heading, path) = part
                .split_once(':')
                .ok_or_else(|| format!("{part:?} is not HEADING:PATH"))?;
            let path = path.trim_start_matches('{').trim_end_matches('}');
            let path = if path.starts_with(['.', '[']) {
                path.to_owned()
            } else {
                format!(".{path}")
            };
            Ok((heading.to_owned(), format!("{{{path}}}").parse::<JsonPath>()?))
        };
        text.split(',').map(column).collect::<Result<_, String>>().map(Self)
    }
}

impl CustomColumns {
    /// The table.
    pub(crate) fn render(&self, objects: &[Object]) -> String {
        let mut table = Table::new(self.0.iter().map(|(heading, _)| heading));
        for object in objects {
            table.row(self.0.iter().map(|(_, path)| {
                let values = path.values(object.value());
                if values.is_empty() {
                    "<none>".to_owned()
                } else {
                    values.join(",")
                }
            }));
        }
        table.render(true)
    }
}
